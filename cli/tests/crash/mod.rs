//! Whoever dies at whatever moment: no process of a step survives, and the next command puts everything right by itself.
//!
//! `BLD_CRASH_ROUNDS` says how often each kind of death is tried (20 times if it is not set), `BLD_CRASH_SEED` repeats the moments of
//! an earlier run. `scripts/crash-campaign` sets the first.

mod full;
mod leftovers;
mod site;

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::process::ExitStatus;
use std::time::Duration;
use std::time::Instant;

use self::site::Site;
use crate::support::Store;
use crate::support::host;

/// How long anything of a step may live after its builder or its helper died.
const MERCY: Duration = Duration::from_secs(1);

/// How long bld may take to end after it was asked to, or after its helper died.
const PATIENCE: Duration = Duration::from_secs(2);

/// Moments drawn at random, the same for the same seed (splitmix64).
struct Moments {
    seed: u64,
    state: u64,
}

impl Moments {
    fn new() -> Self {
        let given = std::env::var("BLD_CRASH_SEED").ok().map(|text| text.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u8) % 1_000_000);
        Self { seed, state: seed }
    }

    fn next(&mut self, below: Duration) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let below = u64::try_from(below.as_nanos()).unwrap();
        Duration::from_nanos(mixed % below.max(1))
    }
}

fn rounds() -> u32 {
    std::env::var("BLD_CRASH_ROUNDS").map_or(20, |text| text.parse().unwrap())
}

/// Does `act` to builds at random moments. Whatever it does, nothing of the step may live on, and the next build must be as if nothing
/// had happened.
fn campaign(act: impl Fn(u32, &Store, Child) -> Result<(), String>) {
    let mut moments = Moments::new();
    let site = Site::new();
    for round in 0..rounds() {
        let store = site.store();
        // Every fourth time the build that clears up is killed as well.
        let deaths = if round % 4 == 3 { 2 } else { 1 };
        let mut told = format!("round {round}, BLD_CRASH_SEED={}", moments.seed);
        for _ in 0..deaths {
            // Some moments are after the end.
            let moment = moments.next(site.duration.mul_f64(1.1));
            told.push_str(&format!(", {:.1} ms", moment.as_secs_f64() * 1000.0));
            let child = site.start(&store);
            std::thread::sleep(moment);
            act(round, &store, child).unwrap_or_else(|problem| panic!("{told}: {problem}"));
            let left = || [host::processes(store.root()), host::processes(Path::new(&site.mark))].concat();
            assert!(host::eventually(MERCY, || left().is_empty()), "{told}: still alive: {:?}", left());
        }
        site.check(&store, &told);
    }
}

/// The end of a process, if it comes in time.
fn end_of(mut child: Child) -> Result<(ExitStatus, String), String> {
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("bld did not end within {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    if said.contains("panicked") {
        return Err(format!("bld panicked:\n{said}"));
    }
    Ok((status, said))
}

#[test]
fn death_of_the_builder() {
    campaign(|_, _, mut child| {
        child.kill().unwrap();
        child.wait().unwrap();
        Ok(())
    });
}

#[test]
fn death_of_the_helper() {
    campaign(|_, store, child| {
        let helper =
            host::processes(store.root()).into_iter().find(|process| process.command.starts_with("bld-helper:"));
        let Some(helper) = helper else {
            // Too early or too late: then it is a build like any other.
            return end_of(child).map(drop);
        };
        host::signal(helper.pid, "KILL");
        let (status, said) = end_of(child)?;
        let is_told = status.success() || (status.code() == Some(1) && said.contains("error: "));
        if is_told { Ok(()) } else { Err(format!("bld ended with {status}:\n{said}")) }
    });
}

#[test]
fn signals() {
    campaign(|round, store, child| {
        let (name, number) = if round % 2 == 0 { ("INT", 2) } else { ("TERM", 15) };
        // A terminal sends its signals to all processes of the group.
        let to_group = round % 4 < 2;
        if to_group {
            host::signal_group(child.id(), name);
        } else {
            host::signal(child.id(), name);
        }
        let (status, said) = end_of(child)?;
        match (status.code(), status.signal()) {
            // The build was over.
            (Some(0), _) => {}
            (Some(code), _) if code == 128 + number => {
                for directory in ["tmp", "leases", "trash"] {
                    let left = host::names(&store.root().join(directory));
                    if !left.is_empty() {
                        return Err(format!("left in {directory}/: {left:?}"));
                    }
                }
            }
            // Nothing was begun yet.
            (None, Some(signal)) if signal == number => {}
            _ => return Err(format!("bld ended with {status} after SIG{name}:\n{said}")),
        }
        Ok(())
    });
}
