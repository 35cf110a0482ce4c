//! What is executed, and how often: no container in sight.

use std::num::NonZeroUsize;
use std::time::Duration;
use std::time::Instant;

use bld_cache::record::Record;
use bld_oci::ImagePath;
use bld_oci::platform::Platform;
use bld_solver::graph::Graph;
use bld_solver::graph::Vertex;
use bld_solver::graph::VertexId;
use bld_solver::op::CopyAction;
use bld_solver::op::CopyFrom;
use bld_solver::op::Destination;
use bld_solver::op::Exec;
use bld_solver::op::FileAction;
use bld_solver::op::FileOp;
use bld_solver::op::InputIndex;
use bld_solver::op::NetworkMode;
use bld_solver::op::Op;
use bld_solver::op::SecurityMode;
use bld_solver::op::Selector;
use bld_solver::op::Source;
use bld_solver::remote::Remote;
use bld_solver::solve::Admission;
use bld_solver::solve::Jobs;
use bld_solver::solve::SolveError;
use bld_solver::solve::prepare;
use bld_solver::solve::solve;

use crate::fake::Behaviour;
use crate::fake::FakeError;
use crate::fake::FakeReporter;
use crate::fake::FakeWorker;
use crate::fake::layer;

const NOTHING: [&str; 0] = [];

#[derive(Default)]
struct Build {
    graph: Graph,
    worker: FakeWorker,
    reporter: FakeReporter,
    jobs: Option<NonZeroUsize>,
}

impl Build {
    fn vertex(&mut self, name: &str, op: Op, inputs: &[VertexId]) -> VertexId {
        self.vertex_with(name, op, inputs, false)
    }

    fn vertex_with(&mut self, name: &str, op: Op, inputs: &[VertexId], no_cache: bool) -> VertexId {
        let vertex = Vertex { no_cache, ..Vertex::new(op, name.to_owned()) };
        self.graph.add(vertex, inputs.iter().copied())
    }

    fn base(&mut self, name: &str) -> VertexId {
        self.vertex(name, Op::Source(Source::Image { layers: vec![layer(name)] }), &[])
    }

    fn scratch(&mut self) -> VertexId {
        self.vertex("scratch", Op::Source(Source::Image { layers: Vec::new() }), &[])
    }

    fn exec(&mut self, name: &str, inputs: &[VertexId]) -> VertexId {
        self.vertex(name, exec(name), inputs)
    }

    fn copy(&mut self, name: &str, from: CopyFrom, inputs: &[VertexId]) -> VertexId {
        self.vertex(name, copy(name, from), inputs)
    }

    async fn solve(&self, targets: &[VertexId]) -> Result<Vec<Record>, SolveError<FakeError>> {
        let prepared = prepare(&self.graph, targets, &self.worker, &self.reporter).await?;
        solve(&self.graph, &prepared, &self.worker, &self.reporter, &Jobs::new(self.jobs)).await
    }

    fn slow(&self, name: &str, milliseconds: u64) {
        self.worker.behave(name, Behaviour { delay: Duration::from_millis(milliseconds), ..Behaviour::default() });
    }

    fn fails(&self, name: &str, milliseconds: u64) {
        let delay = Duration::from_millis(milliseconds);
        self.worker.behave(name, Behaviour { delay, fails: true, ..Behaviour::default() });
    }

    fn writes(&self, name: &str, output: &str) {
        self.worker.behave(name, Behaviour { output: Some(output.to_owned()), ..Behaviour::default() });
    }

    /// The same cache with a new graph.
    fn again(self) -> Build {
        Build { worker: self.worker, ..Build::default() }
    }
}

fn exec(name: &str) -> Op {
    Op::Exec(Exec {
        args: vec![name.to_owned()],
        env: Vec::new(),
        unkeyed_env: Vec::new(),
        cwd: ImagePath::root(),
        user: String::new(),
        network: NetworkMode::Default,
        security: SecurityMode::Sandbox,
        mounts: Vec::new(),
        hostname: "h".to_owned(),
        extra_hosts: Vec::new(),
        script: None,
        shm_size: None,
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
    })
}

fn copy(source: &str, from: CopyFrom) -> Op {
    Op::File(FileOp {
        actions: vec![FileAction::Copy(CopyAction {
            from,
            selector: Selector {
                sources: vec![source.to_owned()],
                exclude: Vec::new(),
                parents: false,
                tree: String::new(),
            },
            destination: Destination { path: ImagePath::root(), is_directory: true },
            owner: None,
            mode: None,
            unpack: Some(false),
        })],
    })
}

fn context() -> CopyFrom {
    CopyFrom::Context("context".to_owned())
}

fn two_steps(build: &mut Build) -> VertexId {
    let base = build.base("base");
    let a = build.exec("run a", &[base]);
    build.exec("run b", &[a])
}

#[tokio::test]
async fn everything_runs_once_and_then_nothing() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    let cold = build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), ["base", "run a", "run b"]);
    assert_eq!(
        build.reporter.events(),
        [(0, "started"), (0, "done"), (1, "started"), (1, "done"), (2, "started"), (2, "done")]
    );
    let warm = build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), NOTHING);
    assert_eq!(cold, warm);
    assert_eq!(cold[0].state.layers.len(), 3);
    assert!(!cold[0].parts.is_empty());
}

#[tokio::test]
async fn a_cached_leaf_forces_nothing_above_it() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    build.solve(&[target]).await.unwrap();
    build.reporter.events();
    *build.worker.lookups.lock().unwrap() = 0;
    build.solve(&[target]).await.unwrap();
    assert_eq!(*build.worker.lookups.lock().unwrap(), 1);
    assert_eq!(build.reporter.events(), [(2, "cached")]);
}

#[tokio::test]
async fn a_new_leaf_runs_on_what_is_cached() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    build.solve(&[target]).await.unwrap();
    build.worker.executed();
    build.reporter.events();
    let leaf = build.exec("run c", &[target]);
    build.solve(&[leaf]).await.unwrap();
    assert_eq!(build.worker.executed(), ["run c"]);
    assert_eq!(build.reporter.events(), [(2, "cached"), (3, "started"), (3, "done")]);
}

#[tokio::test]
async fn what_no_target_needs_is_not_touched() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    let other = build.base("other");
    build.copy("missing", context(), &[other]);
    build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), ["base", "run a", "run b"]);
}

#[tokio::test]
async fn a_diamond_runs_once() {
    let mut build = Build::default();
    let base = build.base("base");
    let left = build.exec("left", &[base]);
    let right = build.exec("right", &[base]);
    let top = build.copy("top", CopyFrom::Input(InputIndex(1)), &[left, right]);
    let records = build.solve(&[top, left, top]).await.unwrap();
    assert_eq!(build.worker.executed(), ["base", "left", "right", "top"]);
    assert_eq!(records.len(), 3);
    assert_eq!(records[0], records[2]);
}

#[tokio::test]
async fn a_step_that_makes_the_same_again_leaves_what_is_below_it_cached() {
    let mut build = Build::default();
    let base = build.base("base");
    let a = build.exec("run a", &[base]);
    let leaf = build.exec("run leaf", &[a]);
    build.writes("run a", "same");
    build.solve(&[leaf]).await.unwrap();

    let mut build = build.again();
    let base = build.base("base");
    let a = build.exec("run a2", &[base]);
    let leaf = build.exec("run leaf", &[a]);
    build.writes("run a2", "same");
    build.worker.executed();
    build.solve(&[leaf]).await.unwrap();
    assert_eq!(build.worker.executed(), ["run a2"]);
    assert_eq!(build.reporter.events(), [(0, "cached"), (1, "started"), (1, "done"), (2, "cached")]);
    // It is known under its new definition key too.
    build.solve(&[leaf]).await.unwrap();
    assert_eq!(build.reporter.events(), [(2, "cached")]);
}

#[tokio::test]
async fn a_changed_file_reruns_only_what_depends_on_it() {
    let mut build = Build::default();
    let base = build.base("base");
    let a = build.copy("a", context(), &[base]);
    let b = build.copy("b", context(), &[base]);
    let left = build.exec("left", &[a]);
    let right = build.exec("right", &[b]);
    build.worker.write("a", "1");
    build.worker.write("b", "1");
    build.solve(&[left, right]).await.unwrap();
    assert_eq!(build.worker.executed(), ["a", "b", "base", "left", "right"]);
    build.worker.write("b", "2");
    build.writes("b", "b2");
    build.solve(&[left, right]).await.unwrap();
    assert_eq!(build.worker.executed(), ["b", "right"]);
}

#[tokio::test]
async fn copying_from_a_stage_looks_at_the_files_only() {
    let mut build = Build::default();
    let scratch = build.scratch();
    let base = build.base("base");
    let stage = build.exec("compile v1", &[base]);
    let leaf = build.copy("bin", CopyFrom::Input(InputIndex(1)), &[scratch, stage]);
    build.writes("compile v1", "binary");
    build.solve(&[leaf]).await.unwrap();

    let mut build = build.again();
    let scratch = build.scratch();
    let base = build.base("other base");
    let stage = build.exec("compile v2", &[base]);
    let leaf = build.copy("bin", CopyFrom::Input(InputIndex(1)), &[scratch, stage]);
    build.writes("compile v2", "binary");
    build.worker.executed();
    build.solve(&[leaf]).await.unwrap();
    assert_eq!(build.worker.executed(), ["compile v2", "other base"]);
}

#[tokio::test]
async fn scratch_and_merge_need_no_worker() {
    let mut build = Build::default();
    let scratch = build.scratch();
    let base = build.base("base");
    let linked = build.exec("link", &[scratch]);
    let merge = build.vertex("merge", Op::Merge, &[base, linked]);
    let records = build.solve(&[merge, base, linked, scratch]).await.unwrap();
    assert_eq!(build.worker.executed(), ["base", "link"]);
    let [merge, base, linked, scratch] = &records[..] else { panic!("four results") };
    assert_eq!(merge.state.id, base.state.id.merge(linked.state.id));
    assert_eq!(merge.state.layers, [&base.state.layers[..], &linked.state.layers].concat());
    assert!(scratch.state.layers.is_empty());
    assert!(!build.reporter.events().iter().any(|(vertex, _)| matches!(vertex, 0 | 3)));
}

#[tokio::test]
async fn no_cache_runs_the_step_and_what_it_changes() {
    for (output, expected) in [("same", vec!["run a"]), ("new", vec!["run a", "run b"])] {
        let mut build = Build::default();
        let target = two_steps(&mut build);
        build.writes("run a", "same");
        build.solve(&[target]).await.unwrap();

        let mut build = build.again();
        let base = build.base("base");
        let a = build.vertex_with("run a", exec("run a"), &[base], true);
        let target = build.exec("run b", &[a]);
        build.writes("run a", output);
        build.worker.executed();
        build.solve(&[target]).await.unwrap();
        assert_eq!(build.worker.executed(), expected);

        let mut build = build.again();
        let target = two_steps(&mut build);
        build.solve(&[target]).await.unwrap();
        assert_eq!(build.worker.executed(), NOTHING, "it was remembered");
    }
}

#[tokio::test]
async fn twins_run_once() {
    for no_cache in [false, true] {
        let mut build = Build::default();
        let base = build.base("base");
        let one = build.vertex_with("one", exec("twin"), &[base], no_cache);
        let two = build.vertex_with("two", exec("twin"), &[base], no_cache);
        build.slow("one", 10);
        build.slow("two", 10);
        let records = build.solve(&[one, two]).await.unwrap();
        assert_eq!(build.worker.executed().len(), 2, "the base and one of them");
        assert_eq!(records[0], records[1]);
    }
}

#[tokio::test]
async fn a_failure_is_not_retried_by_those_who_wait() {
    let mut build = Build::default();
    let base = build.base("base");
    let bad = build.exec("bad", &[base]);
    let left = build.exec("left", &[bad]);
    let right = build.exec("right", &[bad]);
    build.fails("bad", 5);
    let error = build.solve(&[left, right]).await.unwrap_err();
    assert!(matches!(&error, SolveError::Step { name, source, .. } if name == "bad" && source.0 == "bad went wrong"));
    assert_eq!(error.vertex(), bad);
    assert_eq!(build.worker.executed(), ["bad", "base"]);
}

#[tokio::test]
async fn a_failure_cancels_what_runs_beside_it() {
    let mut build = Build::default();
    let base = build.base("base");
    let bad = build.exec("bad", &[base]);
    let slow = build.exec("slow", &[base]);
    let quick = build.exec("quick", &[base]);
    let never = build.exec("never", &[slow]);
    build.fails("bad", 30);
    build.slow("slow", 60_000);
    build.solve(&[bad, never, quick]).await.unwrap_err();
    let mut events = build.reporter.events();
    events.sort_by_key(|(vertex, _)| *vertex);
    assert_eq!(
        events,
        [
            (0, "started"),
            (0, "done"),
            (1, "started"),
            (1, "failed"),
            (2, "started"),
            (2, "canceled"),
            (3, "started"),
            (3, "done")
        ]
    );
    // What had finished is remembered.
    build.worker.executed();
    build.solve(&[quick]).await.unwrap();
    assert_eq!(build.worker.executed(), NOTHING);
}

#[tokio::test]
async fn dropping_the_solve_cancels_what_runs() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    build.slow("run a", 60_000);
    let outcome = tokio::time::timeout(Duration::from_millis(20), build.solve(&[target])).await;
    assert!(outcome.is_err());
    assert_eq!(build.reporter.events(), [(0, "started"), (0, "done"), (1, "started"), (1, "canceled")]);
    build.slow("run a", 0);
    build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), ["base", "run a", "run a", "run b"]);
}

#[tokio::test]
async fn a_missing_source_is_a_failure_of_its_step() {
    let mut build = Build::default();
    let base = build.base("base");
    let copy = build.copy("nothing", context(), &[base]);
    let error = build.solve(&[copy]).await.unwrap_err();
    assert!(matches!(error, SolveError::Digest { vertex, .. } if vertex == copy));
    assert_eq!(build.reporter.events(), [(1, "started"), (1, "failed")]);
    assert_eq!(build.worker.executed(), NOTHING);
}

#[tokio::test]
async fn independent_steps_run_at_once_within_the_limit() {
    for (jobs, expected) in [(None, 32), (NonZeroUsize::new(5), 5), (NonZeroUsize::new(1), 1)] {
        let mut build = Build { jobs, ..Build::default() };
        let base = build.base("base");
        let steps: Vec<VertexId> = (0..32).map(|number| build.exec(&format!("step {number}"), &[base])).collect();
        for number in 0..32 {
            build.slow(&format!("step {number}"), 20);
        }
        let started = Instant::now();
        build.solve(&steps).await.unwrap();
        assert_eq!(build.worker.peak(), expected);
        assert_eq!(build.worker.executed().len(), 33);
        assert!(jobs.is_some() || started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn ten_thousand_steps_in_a_row() {
    let mut build = Build::default();
    build.worker.flat = true;
    let mut top = build.base("base");
    for number in 0..10_000 {
        top = build.exec(&format!("step {number}"), &[top]);
    }
    let started = Instant::now();
    build.solve(&[top]).await.unwrap();
    assert_eq!(build.worker.executed().len(), 10_001);
    build.reporter.events();
    build.solve(&[top]).await.unwrap();
    assert_eq!(build.worker.executed(), NOTHING);
    assert_eq!(build.reporter.events(), [(10_000, "cached")]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn ten_thousand_steps_side_by_side() {
    let mut build = Build::default();
    let base = build.base("base");
    let steps: Vec<VertexId> = (0..10_000).map(|number| build.exec(&format!("step {number}"), &[base])).collect();
    let started = Instant::now();
    assert_eq!(build.solve(&steps).await.unwrap().len(), 10_000);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn two_builds_at_once_share_what_they_have_in_common() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    build.slow("run a", 20);
    let targets = [target];
    let (one, two) = tokio::join!(build.solve(&targets), build.solve(&targets));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(build.worker.executed(), ["base", "run a", "run b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_solve_can_move_between_threads() {
    let mut build = Build::default();
    let target = two_steps(&mut build);
    build.slow("run a", 5);
    let solved = tokio::spawn(async move { build.solve(&[target]).await.map(|records| records.len()) });
    assert_eq!(solved.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_solve_of_nothing_is_nothing() {
    assert!(Build::default().solve(&[]).await.unwrap().is_empty());
}

/// Holds back the second step until the first was let in.
#[derive(Debug)]
struct OneAtFirst(tokio::sync::Semaphore);

impl Admission for OneAtFirst {
    type Permit = ();

    async fn acquire(&self, vertex: &Vertex) {
        if vertex.name == "second" {
            self.0.acquire().await.unwrap().forget();
        }
        if vertex.name == "first" {
            self.0.add_permits(1);
        }
    }
}

#[tokio::test]
async fn the_caller_decides_when_a_step_begins() {
    let mut build = Build::default();
    let base = build.base("base");
    let second = build.exec("second", &[base]);
    let first = build.exec("first", &[base]);
    let admission = OneAtFirst(tokio::sync::Semaphore::new(0));
    let prepared = prepare(&build.graph, &[second, first], &build.worker, &build.reporter).await.unwrap();
    solve(&build.graph, &prepared, &build.worker, &build.reporter, &admission).await.unwrap();
    let started: Vec<_> = build.reporter.events().into_iter().filter(|(_, kind)| *kind == "started").collect();
    assert_eq!(started, [(0, "started"), (2, "started"), (1, "started")]);
}

#[tokio::test]
async fn a_remote_source_is_pinned_once_and_decides_everything_below_it() {
    let remote = || match Remote::parse("https://user:password@host.test/a").unwrap() {
        Some(Remote::Http(http)) => Op::Source(Source::Http(http)),
        other => panic!("{other:?}"),
    };
    let graph = |mut build: Build| {
        let (base, fetched) = (build.base("base"), build.vertex("fetch", remote(), &[]));
        let copied = build.copy("a", CopyFrom::Input(InputIndex(1)), &[base, fetched]);
        let target = build.exec("run", &[copied]);
        (build, target)
    };
    let (build, target) = graph(Build::default());
    build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), ["a", "base", "fetch", "run"]);
    assert_eq!(build.worker.pinned(), ["https://xxxxx@host.test/a"]);

    let (build, target) = graph(build.again());
    build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), NOTHING);
    assert_eq!(build.worker.pinned().len(), 1);

    // Another pin, the same files: the cutoff comes at the copy.
    build.worker.remotes.lock().unwrap().insert("https://xxxxx@host.test/a".to_owned(), "new".to_owned());
    let (build, target) = graph(build.again());
    build.solve(&[target]).await.unwrap();
    assert_eq!(build.worker.executed(), ["fetch"]);
}
