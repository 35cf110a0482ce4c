//! What the tests of the corpus share: both builders, and each case built with bld once.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::Weak;

use super::buildah::Buildah;
use super::case;
use super::case::Case;
use super::image::Image;
use super::listing::BaseImage;
use super::listing::Shown;
use super::listing::listing;
use crate::faults::prediction;
use crate::support;
use crate::support::Base;
use crate::support::Store;
use crate::support::layout::Layout;

/// The builders. It is there as long as a test works in it.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) buildah: Buildah,
    /// The base images and a store with nothing else, for most cases and for those that need all.
    small: OnceLock<Bases>,
    large: OnceLock<Bases>,
}

#[derive(Debug)]
struct Bases {
    store: Store,
    images: Vec<BaseImage>,
}

/// What bld made of a case.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) image: Image,
    pub(super) listing: String,
    /// In what `bld plan` was wrong about this build and the next.
    pub(super) mispredicted: Vec<String>,
}

impl Workshop {
    /// The one that another test has open, else a new one. Ends the test if buildah is missing.
    pub(super) fn enter() -> Arc<Self> {
        static OPEN: Mutex<Weak<Workshop>> = Mutex::new(Weak::new());
        let mut open = OPEN.lock().unwrap();
        open.upgrade().unwrap_or_else(|| {
            let workshop = Arc::new(Self { buildah: Buildah::open(), small: OnceLock::new(), large: OnceLock::new() });
            *open = Arc::downgrade(&workshop);
            workshop
        })
    }

    /// What bld makes of the case, or has made of it for another test of this run.
    pub(super) fn built(&self, name: &str) -> Arc<Built> {
        static BUILT: Mutex<BTreeMap<String, Arc<OnceLock<Arc<Built>>>>> = Mutex::new(BTreeMap::new());
        let built = BUILT.lock().unwrap().entry(name.to_owned()).or_default().clone();
        built.get_or_init(|| Arc::new(self.build(name))).clone()
    }

    fn build(&self, name: &str) -> Built {
        let case = Case::prepare(name);
        let bases = self.bases(name);
        // A store of its own: what another case left in the cache would be taken, with its times and its secrets.
        let store = Store::empty();
        let mut copy = Command::new("cp");
        support::run(copy.args(["-a", "--"]).arg(bases.store.root().join(".")).arg(store.root())).succeeded();
        let output = case.work.path().join("bld.tar");
        let bld = |further: &[&str]| {
            let mut command = store.bld();
            command.current_dir(case.work.path()).envs(case.environment.iter().cloned());
            command.args(further).args(["--network", "host"]).arg("-f").arg(case.source.join("Dockerfile"));
            support::run(command.args(case.arguments()).arg(case.context()))
        };
        let report = case.work.path().join("report.json");
        let report_name = report.display().to_string();
        let plan = || {
            let planned = bld(&["plan", "--json"]);
            let json = serde_json::from_str(&planned.stdout).unwrap_or_else(|_| panic!("{}", planned.failure()));
            (planned.code, json)
        };
        let (_, cold) = plan();
        let spec = format!("type=oci,dest={}", output.display());
        let flags = ["build", "--progress", "plain", "--compression", "none", "-t", name, "-o", &spec];
        bld(&[&flags[..], &["--report", &report_name]].concat()).succeeded();
        let read = || serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        let mut mispredicted = prediction::compare(&cold, &read());
        let (code, warm) = plan();
        bld(&["build", "-q", "--report", &report_name]).succeeded();
        mispredicted.extend(prediction::compare(&warm, &read()));
        if code != Some(0) {
            mispredicted.push(format!("the second build would not be cached: {warm:#}"));
        }
        let layout = Layout::unpack(&output, &case.work.path().join("bld"));
        let shown = Shown { times: case.fixes_times(), unstable: &case.unstable() };
        Built { listing: listing(&layout, &bases.images, shown), image: Image::of(&layout), mispredicted }
    }

    fn bases(&self, name: &str) -> &Bases {
        let bases = case::bases(name);
        let known = if bases.contains(&Base::Debian) { &self.large } else { &self.small };
        known.get_or_init(|| self.load(&bases))
    }

    fn load(&self, bases: &[Base]) -> Bases {
        let store = Store::empty();
        let mut images = Vec::new();
        for base in bases {
            let archive = self.buildah.base(*base);
            support::run(store.bld().arg("load").arg("-i").arg(&archive)).succeeded();
            images.push(BaseImage::read(*base, &archive));
        }
        Bases { store, images }
    }
}
