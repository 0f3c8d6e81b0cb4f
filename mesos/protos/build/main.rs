//! Compiles `proto/**/*.proto` with protox, so that no protoc has to be installed, and writes beside the types
//! of prost what prost lacks: tables of fields for the proto2 checks, and JSON.

mod json;
mod names;
mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");

    let mut descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), without_source(&descriptors))?;

    let messages = names::messages(&descriptors.file);
    let enums = names::enums(&descriptors.file);
    fs::write(out.join("tables.rs"), tables::generate(&messages, &enums)?)?;
    fs::write(out.join("json.rs"), json::generate(&messages)?)?;

    // What is deprecated for users of Mesos is still what Mesos has to speak: no warnings for our own code.
    for file in &mut descriptors.file {
        file.message_type.iter_mut().for_each(undeprecate);
        file.enum_type.iter_mut().for_each(undeprecate_values);
    }
    prost_build::Config::new()
        .bytes(["."])
        // Maps that keep their order make encodings, and with them tests and checksums, reproducible.
        .btree_map(["."])
        .enable_type_names()
        .compile_well_known_types()
        .include_file("mesos_protos.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The encoded set, without comments and positions.
fn without_source(descriptors: &FileDescriptorSet) -> Vec<u8> {
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    bare.encode_to_vec()
}

fn undeprecate(message: &mut DescriptorProto) {
    for options in message.field.iter_mut().filter_map(|f| f.options.as_mut()) {
        options.deprecated = None;
    }
    message.nested_type.iter_mut().for_each(undeprecate);
    message.enum_type.iter_mut().for_each(undeprecate_values);
}

fn undeprecate_values(descriptor: &mut EnumDescriptorProto) {
    for options in descriptor
        .value
        .iter_mut()
        .filter_map(|v| v.options.as_mut())
    {
        options.deprecated = None;
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}
