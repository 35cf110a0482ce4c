//! What builds say of themselves: the page, opened in a real browser; the record against its description; traces; spans and their collector.

mod browser;
mod collector;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use self::browser::Browser;
use self::browser::Page;
use crate::support::Base;
use crate::support::Run;
use crate::support::Store;
use crate::support::cache_directory;
use crate::support::copy_tree;
use crate::support::host;
use crate::support::project;
use crate::support::run;
use crate::support::testdata;

/// A file name that a page must not take for markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>.css";

/// The build of testdata/report/build with twelve stages, done twice: the second time an ARG and a file are others.
struct Twelve {
    store: Store,
    directory: TempDir,
}

impl Twelve {
    fn build() -> Twelve {
        let twelve = Twelve { store: Store::with(&[Base::Busybox]), directory: TempDir::new().unwrap() };
        copy_tree(&testdata("report/build"), &twelve.context());
        twelve.again("1");
        fs::write(twelve.context().join("web").join(HOSTILE), "h2 {}\n").unwrap();
        twelve.again("2");
        twelve
    }

    fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn again(&self, version: &str) {
        let mut command = self.store.bld();
        command.args(["build", "--jobs", "4", "-t", "twelve", "--build-arg", &format!("VERSION={version}")]);
        command.arg("--report").arg(self.file("build.json")).arg("--trace").arg(self.file("trace.json"));
        run(command.arg(self.context())).succeeded();
    }

    fn report(&self, build: &str, name: &str) -> PathBuf {
        let page = self.file(name);
        run(self.store.bld().args(["report", build, "-o"]).arg(&page)).succeeded();
        page
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_report_is_good_in_a_browser() {
    let twelve = Twelve::build();
    let pages = [twelve.report("-2", "first.html"), twelve.report("last", "second.html")];
    // Where somebody can look at them afterwards.
    let pictures = cache_directory("report");
    let browser = Browser::start();
    for (path, name) in pages.iter().zip(["first", "second"]) {
        let page = browser.open();
        page.go(path);
        for (width, scheme) in [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark"), (800, "light")] {
            page.look(width, scheme);
            fits(&page, width);
            legible(&page);
            page.screenshot(&pictures.join(format!("{name}-{width}-{scheme}.png")));
        }
        let dark = "getComputedStyle(document.body).backgroundColor";
        page.look(1400, "light");
        let light_color = page.value(dark);
        page.look(1400, "dark");
        assert_ne!(page.value(dark), light_color);
        let pdf = page.print(&pictures.join(format!("{name}.pdf")));
        assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 10_000, "{} bytes", pdf.len());
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    let page = browser.open();
    page.look(1400, "light");
    page.go(&pages[1]);
    shows_the_second_build(&page);
    works_by_hand(&page);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

/// Nothing is wider than the window, but for what scrolls by itself; nothing of the time line lies outside of it.
#[track_caller]
fn fits(page: &Page<'_>, width: u32) {
    assert!(page.ask(&format!("document.documentElement.scrollWidth <= {width}")), "at {width}");
    let outside = page.value(
        "[...document.querySelectorAll('main *, header *')].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 0 && box.right > document.documentElement.clientWidth + 1 && !element.closest('pre, .bar');
        }).map((element) => element.outerHTML.slice(0, 200))",
    );
    assert_eq!(outside, Value::Array(Vec::new()), "at {width}");
    let outside = page.value(
        "[...document.querySelectorAll('.bar')].filter((bar) => {
            const [inner, outer] = [bar.getBoundingClientRect(), bar.parentElement.getBoundingClientRect()];
            return inner.left < outer.left - 1 || inner.right > outer.right + 4;
        }).map((bar) => bar.title)",
    );
    assert_eq!(outside, Value::Array(Vec::new()), "at {width}");
}

/// Text has a contrast of 4.5 to 1 with what is behind it.
#[track_caller]
fn legible(page: &Page<'_>) {
    let weak = page.value(
        "(() => {
            const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
            const light = ([r, g, b]) => {
                const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
            };
            const behind = (element) => {
                for (let at = element; at; at = at.parentElement) {
                    const color = parse(getComputedStyle(at).backgroundColor);
                    if (color.length === 3 || color[3] === 1) return color;
                }
                return [255, 255, 255];
            };
            const weak = new Set();
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            for (let text = walker.nextNode(); text; text = walker.nextNode()) {
                const element = text.parentElement;
                if (!text.data.trim() || element.closest('script, [aria-hidden=true], .d') || !element.checkVisibility()) continue;
                const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
                const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
                if (contrast < 4.5) weak.add(`${element.tagName}.${element.className} ${contrast.toFixed(2)}: ${text.data.slice(0, 40)}`);
            }
            return [...weak];
        })()",
    );
    assert_eq!(weak, Value::Array(Vec::new()));
}

/// What is in the page is what was built.
fn shows_the_second_build(page: &Page<'_>) {
    let text = page.value("document.body.innerText");
    let text = text.as_str().unwrap();
    for expected in ["ARG VERSION changed: 1 -> 2", &format!("web/{HOSTILE} (new)"), "9 steps", "/srv/scratch"] {
        let wanted = if expected == "9 steps" { "Steps ran" } else { expected };
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    let rows = |condition: &str| {
        let script = format!("document.querySelectorAll('table.steps tbody{condition}').length");
        page.value(&script).as_u64().unwrap()
    };
    assert_eq!(rows(""), 23);
    assert!(rows("[data-outcome=cached]") == 13 && rows("[data-outcome=ran]") == 9);
    // All of a long log, and none of what it says is markup.
    let log = page.value("[...document.querySelectorAll('details.log pre')].map((log) => log.textContent)");
    let logs: Vec<&str> = log.as_array().unwrap().iter().map(|log| log.as_str().unwrap()).collect();
    let modules = logs.iter().find(|log| log.starts_with("module 1 ")).unwrap();
    assert_eq!(modules.lines().count(), 200);
    assert!(modules.ends_with("module 200 </pre><script>alert(200)</script>\n"), "{modules}");
    assert!(logs.contains(&"100%\n"), "{logs:?}");
    assert!(page.ask("document.querySelector('details.log .c2')?.textContent === 'tools ready'"));
    assert!(page.ask("document.images.length === 0 && document.scripts.length === 1"));
    assert!(page.ask(
        "document.querySelectorAll('.lane.steps').length >= 2 && document.querySelector('.bar.critical') !== null"
    ));
}

/// Filters, order, output, links.
fn works_by_hand(page: &Page<'_>) {
    let shown = "[...document.querySelectorAll('table.steps tbody')].filter((row) => row.checkVisibility())";
    page.value("document.querySelector('[data-show=cached]').click()");
    assert!(page.ask(&format!("{shown}.length > 0 && {shown}.every((row) => row.dataset.outcome === 'cached')")));
    // A link to a step that is filtered away shows it.
    page.value("document.querySelector('.lane.steps a.bar').click()");
    page.value("new Promise((done) => setTimeout(done, 100))");
    assert!(page.ask("document.querySelector(location.hash).checkVisibility()"));
    page.value("document.querySelector('th[data-sort=wall] button').click()");
    assert!(
        page.ask(&format!(
            "{shown}.every((row, at, all) => at === 0 || +all[at - 1].dataset.wall >= +row.dataset.wall)"
        ))
    );
    page.value("document.querySelector('th[data-sort=wall] button').click()");
    let numbers = format!("{shown}.map((row) => +row.querySelector('td.n').textContent)");
    assert!(page.ask(&format!("{numbers}.every((number, at) => number === at + 1)")));
    page.value("document.querySelector('[data-open]').click()");
    assert!(page.ask("[...document.querySelectorAll('details.log')].every((log) => log.open)"));
}

#[test]
fn the_record_is_what_its_description_says() {
    let twelve = Twelve::build();
    let record = json(&twelve.file("build.json"));
    let text = fs::read_to_string(project().join("docs/report.md")).unwrap();
    let of_record = text.split_once("## The record").unwrap().1;
    // The first column of a section's tables.
    let section = |name: &str| -> BTreeSet<String> {
        let start = of_record.split_once(&format!("### {name}\n")).unwrap_or_else(|| panic!("{name}")).1;
        let lines = start.lines().take_while(|line| !line.starts_with("###"));
        let cells = lines.filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        cells.flat_map(|cell| cell.split(", `")).map(|name| name.trim_matches('`').to_owned()).collect()
    };
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let all = |list: &Value| list.as_array().unwrap().iter().map(keys).reduce(|one, other| &one | &other).unwrap();
    assert_eq!(keys(&record), section("Build"));
    assert_eq!(all(&record["images"]), section("Image"));
    assert_eq!(all(&record["phases"]), section("Phase"));
    assert_eq!(all(&record["steps"]), section("Step"));
    assert_eq!(all(&record["critical_path"]), section("Segment"));
    let some = |name: &str| {
        let values = record["steps"].as_array().unwrap().iter().map(|step| step[name].clone());
        Value::Array(values.filter(Value::is_object).collect())
    };
    assert_eq!(all(&some("usage")), section("Usage"));
    assert_eq!(all(&some("log")), section("Log"));
    let mut arguments = all(&record["arguments"]);
    arguments.extend(all(&record["arguments"][0]["named"]).iter().map(|key| format!("named[].{key}")));
    assert_eq!(arguments, section("Argument"));
    // Causes by their kinds.
    let mut kinds = section("Cause");
    kinds.remove("kind");
    for cause in some("cause").as_array().unwrap() {
        let kind = cause["kind"].as_str().unwrap();
        assert!(kinds.contains(kind), "{kind}");
        let row = of_record.lines().find(|line| line.starts_with(&format!("| `{kind}` |"))).unwrap();
        for key in keys(cause).iter().filter(|key| *key != "kind") {
            assert!(row.contains(&format!("`{key}`")), "{kind}: {key}");
        }
    }
    let source = fs::read_to_string(project().join("solver/src/explain/cause.rs")).unwrap();
    let variants = source.split_once("pub enum Cause {").unwrap().1.split_once("\n}\n").unwrap().0;
    let variants = variants.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.trim_end_matches([',', ' ', '{']);
        name.starts_with(|first: char| first.is_ascii_uppercase()).then(|| snake(name))
    });
    assert_eq!(variants.collect::<BTreeSet<_>>(), kinds);
    holds_together(&record);
}

fn snake(name: &str) -> String {
    let letter = |(at, letter): (usize, char)| {
        let line = if at > 0 && letter.is_ascii_uppercase() { "_" } else { "" };
        format!("{line}{}", letter.to_ascii_lowercase())
    };
    name.chars().enumerate().map(letter).collect()
}

/// The parts of a record fit each other.
fn holds_together(record: &Value) {
    let steps = record["steps"].as_array().unwrap();
    let us = |value: &Value, name: &str| value[name].as_u64().unwrap();
    let wall = us(record, "wall_us");
    let path: u64 =
        record["critical_path"].as_array().unwrap().iter().map(|part| us(part, "end_us") - us(part, "start_us")).sum();
    assert_eq!(path, wall);
    for step in steps {
        assert!(us(step, "start_us") <= us(step, "end_us") && us(step, "end_us") <= wall, "{step}");
        assert_eq!(step["outcome"] == "ran", !step["cause"].is_null(), "{step}");
        for input in step["inputs"].as_array().unwrap() {
            assert!(steps.iter().any(|other| other["vertex"] == *input), "{step}");
        }
    }
    assert!(steps.iter().any(|step| !step["usage"].is_null()));
}

#[test]
fn a_trace_opens_and_a_file_is_a_build_too() {
    let twelve = Twelve::build();
    let trace = json(&twelve.file("trace.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    let steps = events.iter().filter(|event| event["ph"] == "X" && event["tid"].as_u64() >= Some(200));
    let record = json(&twelve.file("build.json"));
    let ran = record["steps"].as_array().unwrap().iter().filter(|step| step["outcome"] == "ran").count();
    assert_eq!(steps.count(), ran);
    for event in events {
        assert!(event["pid"].is_u64() && event["tid"].is_u64() && event["ph"].is_string(), "{event}");
    }
    // The exported record makes the same page, but for output and layers, which are in the store.
    let nowhere = TempDir::new().unwrap();
    let page =
        run(crate::support::bld(nowhere.path()).args(["report", "-o", "-"]).arg(twelve.file("build.json"))).succeeded();
    assert!(page.stdout.starts_with("<!doctype html>") && page.stdout.contains("ARG VERSION changed: 1 -&gt; 2"));
    assert!(!page.stdout.contains("details class=\"log\""));
    let unknown = run(twelve.store.bld().args(["report", "nosuch"]));
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no build `nosuch`"), "{}", unknown.failure());
}

/// Builds a Dockerfile and says where its record is.
fn record_of(store: &Store, directory: &TempDir, dockerfile: &str, arguments: &[&str]) -> (Run, PathBuf) {
    fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let path = directory.path().join("build.json");
    let mut command = store.bld();
    command.arg("build").args(arguments).arg("--report").arg(&path).arg(directory.path());
    (run(&mut command), path)
}

#[test]
fn builds_that_fail_or_are_stopped_leave_a_record() {
    let store = Store::with(&[Base::Busybox]);
    let directory = TempDir::new().unwrap();
    let failing = "FROM busybox:1\nRUN echo about to fail; echo '<b>oh no</b>' >&2; exit 3\nRUN echo never\n";
    let (build, path) = record_of(&store, &directory, failing, &[]);
    assert_eq!(build.code, Some(1), "{}", build.failure());
    let record = json(&path);
    let outcomes: Vec<&str> =
        record["steps"].as_array().unwrap().iter().map(|step| step["outcome"].as_str().unwrap()).collect();
    assert_eq!((record["status"].as_str(), outcomes.last()), (Some("failed"), Some(&"not_reached")));
    assert!(outcomes.contains(&"failed") && record["error"].is_string(), "{record}");
    let page = run(store.bld().args(["report", "-o", "-"])).succeeded().stdout;
    let (top, rest) = page.split_once("<h2>Timeline").unwrap();
    assert!(top.contains("What failed") && top.contains("&lt;b&gt;oh no&lt;/b&gt;"), "{top}");
    assert!(rest.contains("<details class=\"log\" open>"));
    // A file that cannot be written is not why the build failed.
    let nowhere = directory.path().join("nowhere/build.json");
    let refused = run(store.bld().arg("build").arg("--report").arg(&nowhere).arg(directory.path()));
    assert!(refused.stderr.contains("there is no directory"), "{}", refused.failure());

    fs::write(directory.path().join("Dockerfile"), "FROM busybox:1\nRUN echo begun; sleep 60\n").unwrap();
    let path = directory.path().join("stopped.json");
    let mut command = store.bld();
    command.arg("build").arg("--report").arg(&path).arg(directory.path()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // What the step prints, not the instruction.
    while !line.trim_end().ends_with(" begun") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0);
    }
    host::signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let record = json(&path);
    assert_eq!(record["status"], "canceled");
    assert!(record["steps"].as_array().unwrap().iter().any(|step| step["outcome"] == "canceled"), "{record}");
    assert!(run(store.bld().args(["report", "-o", "-"])).succeeded().stdout.contains("<h2>Canceled"));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let store = Store::empty();
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    for (arguments, reason) in [
        (&["build", "--report", "-"][..], "standard output is for the digest"),
        (&["build", "--trace", "-"], "standard output is for the digest"),
        (&["build", "--report", "/tmp"], "it is a directory"),
        (&["build", "--report", "/tmp/x.json", "--trace", "/tmp/x.json"], "two outputs go to /tmp/x.json"),
        (&["plan", "--report", "/tmp/x.json"], "nothing is built"),
    ] {
        let refused = run(store.bld().args(arguments).arg(directory.path()));
        assert!(refused.code != Some(0) && refused.stderr.contains(reason), "{}", refused.failure());
    }
}

/// No build is held up by its collector for longer than that, on a busy machine.
const HELD_UP: Duration = Duration::from_secs(8);

#[test]
fn what_is_written_into_the_context_is_noted() {
    let store = Store::with(&[Base::Busybox]);
    let directory = TempDir::new().unwrap();
    let context = directory.path().canonicalize().unwrap();
    let dockerfile = "FROM busybox:1\nARG API_TOKEN\nRUN echo a > /a\nCOPY . /all\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let bld = |arguments: &[&str]| run(store.bld().args(arguments).current_dir(&context)).succeeded();
    let build = ["build", "-t", "x", "--network", "none", "--build-arg", "API_TOKEN=hunter3", "."];
    fs::create_dir(context.join("out")).unwrap();
    bld(&build);
    let said = bld(&["report"]).stderr;
    assert!(said.contains("note: report.html is inside the build context "), "{said}");
    assert!(said.contains("; add `report.html` to .dockerignore"), "{said}");
    let page = fs::read_to_string(context.join("report.html")).unwrap();
    assert!(page.contains("RUN |1 API_TOKEN=*** /bin/sh -c echo a") && !page.contains("hunter3"));
    let said = bld(&[&build[..], &["--report", "out/r.json"]].concat());
    assert!(said.stderr.contains("note: out/r.json is inside"), "{}", said.stderr);
    assert!(!fs::read_to_string(context.join("out/r.json")).unwrap().contains("hunter3"));
    fs::write(context.join(".dockerignore"), "*.html\nout\n").unwrap();
    assert!(!bld(&["report"]).stderr.contains("note:"));
    let said = bld(&[&build[..], &["--report", "out/r.json", "--trace", "out/t.json"]].concat());
    assert!(!said.stderr.contains("is inside"), "{}", said.stderr);
    assert!(!fs::read_to_string(context.join("out/t.json")).unwrap().contains("hunter3"));
    let elsewhere = TempDir::new().unwrap();
    let page = elsewhere.path().join("page.html");
    assert!(!bld(&["report", "-o", page.to_str().unwrap()]).stderr.contains("note:"));
}
