//! Archives byte by byte, also those that no decent tar writer would make.

use std::fmt::Write as _;

/// An archive in the making.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

/// One header, with the values of an ordinary file of root.
pub(super) struct Header<'text> {
    pub(super) name: &'text [u8],
    pub(super) kind: u8,
    pub(super) link: &'text [u8],
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
    pub(super) device: (u32, u32),
    pub(super) records: Vec<(&'text str, &'text [u8])>,
    pub(super) body: &'text [u8],
}

impl Default for Header<'_> {
    fn default() -> Self {
        Header {
            name: b"",
            kind: b'0',
            link: b"",
            mode: 0o644,
            owner: (0, 0),
            mtime: 1_000_000_000,
            device: (0, 0),
            records: Vec::new(),
            body: b"",
        }
    }
}

impl Archive {
    pub(super) fn add(mut self, header: &Header<'_>) -> Archive {
        let mut records = Vec::new();
        for (key, value) in &header.records {
            records.extend(record(key.as_bytes(), value));
        }
        if header.name.len() > 100 {
            records.extend(record(b"path", header.name));
        }
        if header.link.len() > 100 {
            records.extend(record(b"linkpath", header.link));
        }
        if !records.is_empty() {
            let body = records.as_slice();
            self = self.raw(&Header { name: b"PaxHeaders/x", kind: b'x', body, ..Header::default() });
        }
        self.raw(header)
    }

    fn raw(mut self, header: &Header<'_>) -> Archive {
        let mut block = [0_u8; 512];
        copy(&mut block[..100], header.name);
        let octal = |field: &mut [u8], value: u64| {
            let mut text = String::new();
            write!(text, "{value:0width$o}", width = field.len() - 1).unwrap();
            copy(field, text.as_bytes());
        };
        octal(&mut block[100..108], u64::from(header.mode));
        octal(&mut block[108..116], u64::from(header.owner.0));
        octal(&mut block[116..124], u64::from(header.owner.1));
        octal(&mut block[124..136], header.body.len() as u64);
        octal(&mut block[136..148], header.mtime);
        block[148..156].fill(b' ');
        block[156] = header.kind;
        copy(&mut block[157..257], header.link);
        copy(&mut block[257..265], b"ustar\x0000");
        octal(&mut block[329..337], u64::from(header.device.0));
        octal(&mut block[337..345], u64::from(header.device.1));
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        self.bytes.extend(block);
        self.bytes.extend(header.body);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn dir(self, name: &str, mode: u32) -> Archive {
        self.add(&Header { name: name.as_bytes(), kind: b'5', mode, ..Header::default() })
    }

    pub(super) fn file(self, name: &str, body: &str) -> Archive {
        self.add(&Header { name: name.as_bytes(), body: body.as_bytes(), ..Header::default() })
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Archive {
        self.add(&Header { name: name.as_bytes(), kind: b'2', link: target.as_bytes(), ..Header::default() })
    }

    pub(super) fn link(self, name: &str, target: &str) -> Archive {
        let link = target.as_bytes();
        self.add(&Header { name: name.as_bytes(), kind: b'1', link, mode: 0o777, ..Header::default() })
    }

    pub(super) fn device(self, name: &str, kind: u8, device: (u32, u32)) -> Archive {
        self.add(&Header { name: name.as_bytes(), kind, device, ..Header::default() })
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn copy(field: &mut [u8], value: &[u8]) {
    let length = field.len().min(value.len());
    field[..length].copy_from_slice(&value[..length]);
}
