//! Sandbox.

mod child;
mod error;
mod helper;
mod mounts;
pub mod network;
mod overlay;
mod privileges;
mod resolve;
mod rootfs;
mod seccomp;
mod server;
mod spec;
mod sys;
mod syscalls;
pub mod userns;
mod wire;

pub use error::{Errno, SandboxError, StepError};
pub use helper::{Exited, Helper, Running};
pub use spec::{
    FileMount, Identity, Mount, MountSource, NamespaceFd, Network, ResolvConf, Resource, ResourceLimit, RootFs, Spec,
    Upper,
};
pub use userns::Entered;
pub use wire::{Exit, ExitStatus};

#[cfg(test)]
mod tests;
