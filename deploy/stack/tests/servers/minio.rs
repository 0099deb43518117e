//! MinIO through a crash and to its end; what it stores is tested where it is used.

use std::time::Duration;

use bugstream_stack::process::{Identity, wait_until};
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server::{Minio, MinioOptions, answers};

use crate::Scratch;

fn options(scratch: &Scratch, folder: &str) -> MinioOptions {
    let binary = provision::minio(&Cache::open().expect("a cache")).expect("a MinIO");
    MinioOptions::new(binary, scratch.path().join(folder))
}

#[test]
fn it_starts_again_on_the_same_port_after_a_crash_and_ends_with_its_value() {
    let scratch = Scratch::new("minio");
    let mut minio = Minio::start(options(&scratch, "minio")).expect("it starts");
    minio.make_bucket("kept").expect("a bucket");
    minio.make_bucket("kept").expect_err("it is there already");
    let (url, first) = (minio.url(), Identity::of(minio.pid()).expect("it runs"));
    minio.kill9();
    assert!(!first.is_alive());
    minio.restart().expect("it starts again");
    assert_eq!(minio.url(), url);
    // One look waits two seconds at most.
    let live = format!("{url}/minio/health/live");
    assert!(wait_until(Duration::from_secs(120), || answers(&live)));
    let second = Identity::of(minio.pid()).expect("it runs");
    drop(minio);
    assert!(!second.is_alive());
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let scratch = Scratch::new("minio-taken");
    let minio = Minio::start(options(&scratch, "first")).expect("it starts");
    let second = MinioOptions {
        port: minio.port(),
        ..options(&scratch, "second")
    };
    let error = Minio::start(second).expect_err("the port is taken");
    assert!(error.to_string().contains("already in use"), "{error}");
}
