//! Compiles the BPF programs. Needs clang and the kernel's user-space headers; libbpf's
//! headers come with libbpf-cargo.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is set by cargo")?);
    // Debian and its derivatives keep `asm/types.h` in a folder named after the
    // architecture, which clang does not search when it compiles for `bpf`.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("set by cargo")?;
    let include = format!("/usr/include/{arch}-linux-gnu");
    let include = Path::new(&include).is_dir().then(|| format!("-I{include}"));
    for name in ["initiator", "tracer"] {
        let source = format!("src/{name}.bpf.c");
        println!("cargo:rerun-if-changed={source}");
        SkeletonBuilder::new()
            .source(source)
            .obj(out.join(format!("{name}.bpf.o")))
            .clang_args(&include)
            .build()
            .context("the BPF programs need clang and the linux headers (Debian: clang, linux-libc-dev)")?;
    }
    Ok(())
}
