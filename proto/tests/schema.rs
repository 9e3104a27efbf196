//! The checked-in `src/wire/chinwag1.rs` is what the schema compiles to, so that building needs no code generator.

use std::{env, fs, path::Path};

#[test]
fn the_checked_in_messages_are_what_the_schema_compiles_to() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema");
    fs::create_dir_all(&out).unwrap();
    let schema = protox::compile(["chinwag1.proto"], [root.join("schema")]).unwrap();
    prost_build::Config::new().out_dir(&out).compile_fds(schema).unwrap();
    let fresh = fs::read_to_string(out.join("chinwag1.rs")).unwrap();

    let checked_in = root.join("src/wire/chinwag1.rs");
    if env::var_os("CHINWAG_UPDATE_SCHEMA").is_some() {
        fs::write(&checked_in, &fresh).unwrap();
    }
    let kept = fs::read_to_string(&checked_in).unwrap();
    assert!(kept == fresh, "the schema changed: run this test once with CHINWAG_UPDATE_SCHEMA=1");
}
