//! Archives and layouts, of bld and of others, into bld and onwards.

use std::path::Path;

use tempfile::TempDir;

use super::Podman;
use super::as_root;
use super::bash;
use super::json;
use super::listing::Listing;
use super::listing::Look;
use super::listing::differences;
use super::listing::listing;
use super::unpack_tar;
use crate::support;
use crate::support::Base;
use crate::support::Store;

const DOCKERFILE: &str = r#"
FROM busybox:1
LABEL made.by=trip
RUN mkdir -p /data/gone /data/opaque && echo one > /data/one && echo g > /data/gone/g && echo l > /data/opaque/l
RUN rm -r /data/gone /data/opaque && mkdir /data/opaque && ln /data/one /data/two && chown 33:44 /data/two && \
    cp /bin/busybox /data/suid && chmod 4711 /data/suid && mkfifo /data/fifo && ln -s one /data/link
COPY --chmod=0640 --chown=7:8 Dockerfile /data/three
CMD ["cat", "/data/one"]
"#;

/// An image in many forms, in `work`.
struct Forms {
    store: Store,
    work: TempDir,
    files: Listing,
}

impl Forms {
    fn new() -> Forms {
        let (store, work) = (Store::with(&[Base::Busybox]), TempDir::with_prefix("trips-").unwrap());
        std::fs::write(work.path().join("Dockerfile"), DOCKERFILE).unwrap();
        let mut build = store.bld();
        build.args(["build", "-q", "-t", "trip:1", "-t", "example.org/second/trip:2", "-o", "type=tar,dest=root.tar"]);
        build.args(["-o", "type=oci,dest=own.tar", "."]).current_dir(work.path());
        support::run(&mut build).succeeded();
        // Short names are podman's own ("localhost/trip") as soon as an archive has several.
        let mut build = store.bld();
        build.args(["build", "-q", "-t", "trip:1", "-o", "type=oci,dest=one.tar", "."]).current_dir(work.path());
        support::run(&mut build).succeeded();
        unpack_tar(&work.path().join("root.tar"), &work.path().join("root"));
        let files = listing(&work.path().join("root"), Look::ALL);
        bash(work.path(), "for tool in gzip zstd xz bzip2; do $tool -k -c own.tar > own.tar.$tool; done");
        bash(work.path(), "
            skopeo copy -q oci-archive:own.tar:1 docker-archive:skopeo-docker.tar:trip:1
            skopeo copy -q --dest-compress-format zstd oci-archive:own.tar:1 oci-archive:skopeo-zstd.tar:docker.io/library/trip:1
            skopeo copy -q oci-archive:own.tar:1 oci:layout:1
            skopeo copy -q oci-archive:own.tar:1 oci:layout:other
        ");
        let podman = Podman::new();
        let path = |name: &str| work.path().join(name).display().to_string();
        podman.run(&["load", "-q", "-i", &path("one.tar")]);
        podman.run(&["save", "-q", "--format", "docker-archive", "-o", &path("podman-docker.tar"), "trip:1"]);
        podman.run(&["save", "-q", "--format", "oci-archive", "-o", &path("podman-oci.tar"), "trip:1"]);
        drop(podman);
        Forms { store, work, files }
    }
}

#[test]
fn archives_of_all_kinds_come_in_unchanged() {
    if !as_root() {
        return;
    }
    let forms = Forms::new();
    let archives = [
        "own.tar",
        "own.tar.gzip",
        "own.tar.zstd",
        "own.tar.xz",
        "own.tar.bzip2",
        "skopeo-docker.tar",
        "skopeo-zstd.tar",
        "podman-docker.tar",
        "podman-oci.tar",
    ];
    let id = json(&support::run(forms.store.bld().args(["inspect", "trip:1"])).stdout)[0]["Id"].clone();
    let problems = support::for_each(&archives.map(str::to_owned), |archive| {
        let store = Store::empty();
        let loaded = support::run(store.bld().arg("load").arg("-i").arg(forms.work.path().join(archive))).succeeded();
        let mut problems = Vec::new();
        if !loaded.stdout.contains("Loaded image: trip:1\n") {
            problems.push(format!("{archive}: {}", loaded.failure()));
        }
        let inspected = json(&support::run(store.bld().args(["inspect", "trip:1"])).succeeded().stdout);
        if inspected[0]["Id"] != id {
            problems.push(format!("{archive}: the image ID is {}, not {id}", inspected[0]["Id"]));
        }
        problems.extend(built_upon(&store, "trip:1", &[], &forms.files, archive));
        problems
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn build_contexts_can_be_images_of_all_kinds() {
    if !as_root() {
        return;
    }
    let forms = Forms::new();
    let path = |name: &str| forms.work.path().join(name).display().to_string();
    let contexts = [
        format!("oci-layout://{}:1", path("layout")),
        format!("oci-layout://{}", path("layout")),
        format!("oci-archive:{}", path("skopeo-zstd.tar")),
        format!("oci-archive:{}:trip:1", path("own.tar")),
        format!("docker-archive:{}", path("podman-docker.tar")),
        format!("docker-archive:{}:trip:1", path("own.tar")),
        format!("oci-layout://{}:trip:1", forms.store.root().join("oci").display()),
    ];
    let problems = support::for_each(&contexts.map(|context| format!("image={context}")), |context| {
        built_upon(&Store::empty(), "image", &["--build-context", context], &forms.files, context)
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    // `docker-image://` is a name of the store; a directory can be copied from, and nothing else.
    let image = ["--build-context", "image=docker-image://example.org/second/trip:2"];
    let problems = built_upon(&forms.store, "image", &image, &forms.files, "docker-image");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let directory = format!("image={}", path("root"));
    let problems = copied(&forms.store, &["--build-context", &directory], &forms.files, "a directory");
    assert!(problems.is_empty(), "{}", problems.join("\n"));

    for (context, wanted) in [
        (format!("image=oci-layout://{}:missing", path("layout")), "missing"),
        (format!("image=oci-archive:{}", path("nowhere.tar")), "nowhere.tar"),
        (format!("image=docker-archive:{}:none:1", path("own.tar")), "none:1"),
    ] {
        let work = context_with("FROM image\n");
        let built = support::run(forms.store.bld().args(["build", "-q", "--build-context", &context]).arg(work.path()));
        assert!(built.code == Some(1) && built.stderr.contains(wanted), "{}", built.failure());
    }
}

#[test]
fn one_archive_holds_all_names() {
    let forms = Forms::new();
    let store = Store::empty();
    let mut load = store.bld();
    let archive = std::fs::File::open(forms.work.path().join("own.tar.gzip")).unwrap();
    let output = load.arg("load").stdin(archive).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "Loaded image: trip:1\nLoaded image: example.org/second/trip:2\n", "{output:?}");
    let load = |arguments: &[&str]| support::run(store.bld().arg("load").args(arguments));
    let path = |name: &str| forms.work.path().join(name).display().to_string();
    assert_eq!(load(&["-q", "-i", &path("own.tar")]).stdout.len(), "sha256:\n".len() + 64);
    let missing = load(&["-i", "/nowhere.tar"]);
    assert_eq!((missing.code, missing.stderr.contains("/nowhere.tar")), (Some(1), true), "{}", missing.failure());
    let not_an_image = load(&["-i", &path("root.tar")]);
    assert_eq!(not_an_image.code, Some(1), "{}", not_an_image.failure());
    let not_a_tar = load(&["-i", &path("Dockerfile")]);
    assert_eq!(not_a_tar.code, Some(1), "{}", not_a_tar.failure());
    // A layer that was cut short, and one with a changed byte.
    bash(
        forms.work.path(),
        "
        head -c 900000 own.tar > short.tar
        mkdir changed && tar -xf own.tar -C changed && cd changed
        blob=$(find blobs -size +500k | head -n 1); printf X | dd of=$blob bs=1 seek=1000 conv=notrunc status=none
        tar -cf ../changed.tar *
    ",
    );
    for broken in ["short.tar", "changed.tar"] {
        let fresh = Store::empty();
        let loaded = support::run(fresh.bld().args(["load", "-i", &path(broken)]));
        assert_eq!(loaded.code, Some(1), "{broken}: {}", loaded.failure());
        assert_eq!(support::run(fresh.bld().args(["images", "-q"])).succeeded().stdout, "", "{broken}");
    }
}

/// `FROM image`, and a step in it: the files must be those of the image.
fn built_upon(store: &Store, image: &str, flags: &[&str], wanted: &Listing, title: &str) -> Vec<String> {
    let work = context_with(&format!("FROM {image}\nRUN cp /data/three /four && rm /four\n"));
    let mut build = store.bld();
    build.args(["build", "-q"]).args(flags).args(["-o", "type=tar,dest=root.tar", "."]).current_dir(work.path());
    support::run(&mut build).succeeded();
    let mut problems = differences(&format!("{title}: FROM"), wanted, &unpacked(work.path()));
    let from = format!("FROM scratch\nCOPY --from={image} / /\n");
    problems.extend(copied_with(store, flags, &from, wanted, title));
    problems
}

/// `COPY --from=image`: the files must be those of the image.
fn copied(store: &Store, flags: &[&str], wanted: &Listing, title: &str) -> Vec<String> {
    copied_with(store, flags, "FROM scratch\nCOPY --from=image / /\n", wanted, title)
}

fn copied_with(store: &Store, flags: &[&str], dockerfile: &str, wanted: &Listing, title: &str) -> Vec<String> {
    let work = context_with(dockerfile);
    let mut build = store.bld();
    build.args(["build", "-q"]).args(flags).args(["-o", "type=tar,dest=root.tar", "."]).current_dir(work.path());
    support::run(&mut build).succeeded();
    let mut found = unpacked(work.path());
    let mut wanted = wanted.clone();
    if title == "a directory" {
        // Files of a build context belong to root.
        let plain = |listing: Listing| -> Listing {
            let owner = |file: String| file.replace(" 33:44", " 0:0").replace(" 7:8", " 0:0");
            listing.into_iter().map(|(path, file)| (path, owner(file))).collect()
        };
        (found, wanted) = (plain(found), plain(wanted));
    }
    differences(&format!("{title}: COPY"), &wanted, &found)
}

fn unpacked(work: &Path) -> Listing {
    let root = work.join("root");
    unpack_tar(&work.join("root.tar"), &root);
    listing(&root, Look::ALL)
}

fn context_with(dockerfile: &str) -> TempDir {
    let work = TempDir::with_prefix("context-").unwrap();
    std::fs::write(work.path().join("Dockerfile"), dockerfile).unwrap();
    work
}
