//! Any text is a reference, a digest, a platform and a path, or is refused; every written form reads back as the same, and what is
//! normalised stays as it is.

#![no_main]

use bld_oci::Digest;
use bld_oci::ImagePath;
use bld_oci::Platform;
use bld_oci::Reference;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<Reference>() {
        Ok(reference) => {
            for written in [reference.to_string(), reference.familiar()] {
                let again: Reference = written.parse().expect("what was written can be read");
                assert_eq!(again, reference, "{written}");
                assert_eq!(again.to_string(), reference.to_string());
            }
            assert!(reference.to_string().starts_with(&reference.repository()));
            assert!(reference.tag().is_some() || reference.digest().is_some());
            let by_digest = reference.with_digest(Digest::of(b""));
            assert_eq!(by_digest.to_string().parse(), Ok(by_digest));
            let tagged = reference.with_tag("v1").expect("a right tag");
            assert_eq!(tagged.familiar().parse(), Ok(tagged));
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.reason().is_empty()),
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let host = Platform::new("linux", "amd64", None);
    if let Ok(platform) = Platform::parse(text, &host) {
        let again = Platform::parse(&platform.to_string(), &host).expect("what was written can be read");
        assert_eq!(again, platform);
        assert!(platform.accepts(&platform));
        assert_eq!(platform.preferences().first(), Some(&platform));
    }
    let path = ImagePath::new(text);
    assert_eq!(ImagePath::new(path.as_bytes()), path);
    assert!(path.components().all(|name| !matches!(name, b"" | b"." | b"..") && !name.contains(&0)));
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            assert_eq!(parent.join(name), path);
            assert_eq!(path.strip_prefix(&parent), Some(name));
        }
        (parent, name) => assert!(parent.is_none() && name.is_none() && path.is_root()),
    }
});
