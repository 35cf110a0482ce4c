//! What `bld` and its helper say to each other: packets of JSON on a `SOCK_SEQPACKET` socket, descriptors beside them.
//!
//! ```text
//! bld -> helper   Request   + [specification in a memfd, streams (1 to 3), network namespace?]
//! helper -> bld   Started   + [pidfd of the step]
//! helper -> bld   Failed                           the command never ran
//! helper -> bld   Exited                           after Started, once nothing of the step is left
//! ```

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use bld_solver::record::Usage;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use super::error::StepError;
use super::spec::Spec;
use super::streams::StreamKind;

/// No packet is longer.
const MAX_PACKET: usize = 128 << 10;
const MAX_DESCRIPTORS: usize = 5;

/// Asks for a step; the specification is too long for a packet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) step: u64,
    pub(super) streams: StreamKind,
}

/// What became of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) step: u64,
    pub(super) event: Event,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    Started {
        #[serde(with = "super::spec::paths_bytes")]
        made: Vec<PathBuf>,
    },
    Failed(StepError),
    Exited(Exit),
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What the command returned.
    pub status: ExitStatus,
    /// The kernel ran out of memory while the step ran, and something killed it.
    pub oom: bool,
    /// What the processes of the step used.
    ///
    /// They are the command and whatever was waited for by its parent, and so on up to the command. Not counted is what still ran in the
    /// background when the command ended (it was killed then), and the children of a process that ignores `SIGCHLD`. The set-up of the step
    /// is taken off, but for memory: below the few MB that bld needs for it nothing can be told apart.
    ///
    /// Bytes are counted where they pass between page cache and disks: what was cached is not read again, what is removed before it
    /// reaches the disk was written nevertheless, and a tmpfs has no disk.
    pub usage: Usage,
}

/// What a command returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

/// Sends one packet.
pub(super) fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    if bytes.len() > MAX_PACKET {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives one packet; `None` when the other side is gone.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut bytes = vec![0_u8; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            other => break other?.bytes,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(bytes.get(..length).unwrap_or_default()).map_err(|_| Errno::BADMSG)?;
    Ok(Some((message, fds)))
}

/// Writes a specification to memory that can be passed on.
pub(super) fn write_spec(spec: &Spec) -> Result<OwnedFd, SpecError> {
    let bytes = serde_json::to_vec(spec).map_err(SpecError::Encode)?;
    let memory =
        rustix::fs::memfd_create("bld-step", MemfdFlags::CLOEXEC).map_err(|it| SpecError::Memory(it.into()))?;
    let mut file = File::from(memory);
    file.write_all(&bytes).map_err(SpecError::Memory)?;
    file.rewind().map_err(SpecError::Memory)?;
    Ok(file.into())
}

/// Why a specification could not be written.
#[derive(Debug)]
pub(super) enum SpecError {
    Encode(serde_json::Error),
    Memory(std::io::Error),
}

/// Reads what [`write_spec`] wrote.
pub(super) fn read_spec(memory: OwnedFd) -> std::io::Result<Spec> {
    let mut bytes = Vec::new();
    File::from(memory).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
