//! The rows of the security table that concern the sandbox, run against the real kernel with the host as witness.
//!
//! They need root and a static busybox; the rootless rows also a user with a line in `/etc/subuid`. Where something is
//! missing a row says why it did not run; with `BLD_REQUIRE_PRIVILEGED=1` it fails instead.
#![expect(clippy::disallowed_methods, reason = "tests ask whether they must run")]
#![expect(clippy::print_stderr, reason = "rows that cannot run say so")]

mod builder_death;
mod containment;
mod fixture;
mod network;
mod privileges;
mod probe;
mod race;
mod rootfs;
mod rootless;
mod speed;
mod usage;
