//! Compiles the XDP program. Needs clang and the kernel's user-space headers;
//! libbpf's headers come with libbpf-cargo.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/xblade.bpf.c";
const HEADER: &str = "src/xblade.h";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is set by cargo")?);
    let mut args = vec!["-Wall".to_owned()];
    // Developers must see warnings, but a newer clang must not break a release build.
    if env::var_os("PROFILE").is_some_and(|profile| profile == "debug") {
        args.push("-Werror".to_owned());
    }
    args.extend(arch_include()?);
    SkeletonBuilder::new()
        .source(SOURCE)
        .obj(out.join("xblade.bpf.o"))
        .clang_args(args)
        .build()
        .context("the XDP program needs clang and the linux headers (Debian: clang, linux-libc-dev)")
}

/// Debian and derivatives keep `asm/types.h` in an architecture-specific folder, which
/// clang does not search when it compiles for `bpf`.
fn arch_include() -> Result<Option<String>> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("set by cargo")?;
    let include = format!("/usr/include/{arch}-linux-gnu");
    Ok(Path::new(&include).is_dir().then(|| format!("-I{include}")))
}
