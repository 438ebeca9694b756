//! Builds the dashboard from `web/` with npm, and has its files included.
//!
//! Without npm, or when it fails, there is no dashboard and a warning says why.
//! `NOTIFICATION_DASHBOARD=required` makes that an error, `NOTIFICATION_DASHBOARD=off`
//! leaves it out on purpose.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use flate2::Compression;
use flate2::write::GzEncoder;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const WANTED: &str = "NOTIFICATION_DASHBOARD";

/// What the pages are made of, below the workspace.
const SOURCES: [&str; 7] = [
    "web/src",
    "web/index.html",
    "web/package.json",
    "web/package-lock.json",
    "web/tsconfig.json",
    "web/vite.config.ts",
    "clients/js/src",
];

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    println!("cargo::rerun-if-env-changed={WANTED}");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    let wanted = env::var(WANTED).unwrap_or_default();
    let built = match wanted.as_str() {
        "off" => Err("it was left out".into()),
        _ => build(&root.join("web"), &out),
    };
    let files = match built {
        Ok(files) => files,
        Err(error) if wanted == "required" => return Err(error),
        Err(error) => {
            if wanted != "off" {
                println!("cargo::warning=no dashboard is built in: {error}");
            }
            Vec::new()
        }
    };
    fs::write(out.join("files.rs"), table(&files)?)?;
    Ok(())
}

/// Where the built files are.
fn build(web: &Path, out: &Path) -> Result<Vec<(String, PathBuf)>> {
    let lockfile = web.join("package-lock.json");
    // Two builds at once, of different targets, would install over each other.
    let lock = File::open(&lockfile)?;
    lock.lock()?;
    let installed = web.join("node_modules/.package-lock.json");
    if !is_newer(&installed, &lockfile)? {
        let arguments = [
            "ci",
            "--include=dev",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ];
        run(Command::new("npm").args(arguments).current_dir(web))?;
    }
    let dist = out.join("dashboard");
    let vite = web.join("node_modules/.bin/vite");
    run(Command::new(vite)
        .args(["build", "--emptyOutDir", "--logLevel=warn", "--outDir"])
        .arg(&dist)
        .current_dir(web))?;
    let mut files = Vec::new();
    list(&dist, "", &mut files)?;
    files.sort();
    Ok(files)
}

fn is_newer(file: &Path, than: &Path) -> Result<bool> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(metadata.modified()? >= fs::metadata(than)?.modified()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("{name} cannot be run: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let said = said.trim().replace('\n', " | ");
    Err(format!("{name} ended with {}: {said}", ran.status).into())
}

fn list(directory: &Path, path: &str, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &path, files)?,
            false => files.push((path, entry.path())),
        }
    }
    Ok(())
}

/// The files as the library includes them, each as it is and compressed.
fn table(files: &[(String, PathBuf)]) -> Result<String> {
    let mut text = String::from("const FILES: &[File] = &[\n");
    for (path, file) in files {
        let bytes = fs::read(file)?;
        let mut gzip = file.clone().into_os_string();
        gzip.push(".gz");
        let mut encoder = GzEncoder::new(File::create(&gzip)?, Compression::best());
        encoder.write_all(&bytes)?;
        encoder.finish()?;
        let content_type = content_type(file)?;
        writeln!(
            text,
            "    File {{ path: {path:?}, content_type: {content_type:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({gzip:?}) }},"
        )?;
    }
    text += "];\n";
    Ok(text)
}

fn content_type(file: &Path) -> Result<&'static str> {
    Ok(match file.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return Err(format!("no content type is known for {}", file.display()).into()),
    })
}
