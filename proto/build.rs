//! Compiles the `.proto` files with protox, so that no system `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "bugstream/v1/issue.proto",
        "bugstream/v1/request.proto",
        "bugstream/v1/task.proto",
        "bugstream/v1/dead_letter.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let mut config = prost_build::Config::new();
    config.compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}
