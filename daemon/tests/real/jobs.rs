//! Jobs over SIGKILL, with the real worker; and bad requests of every call of JobService.

use std::time::{Duration, Instant};

use imgd_proto::{
    Failure, Reason,
    v1::{self, JobState, job_service_client::JobServiceClient},
};
use rustix::process::Signal;
use tokio::time::sleep;
use tonic::{Status, transport::Channel};

use crate::house::{House, PATIENCE, small};

/// A job of two pictures that takes a while.
fn request() -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        generate: Some(v1::GenerateRequest {
            num_inference_steps: Some(12),
            num_images: Some(2),
            request_id: "mine".to_owned(),
            ..small()
        }),
        ..v1::SubmitJobRequest::default()
    }
}

/// Saves after every evaluation.
fn save_always(imgd: &mut std::process::Command) {
    imgd.env("IMGD_SAVE_INTERVAL", "0");
}

async fn job(channel: &Channel, job_id: &str) -> v1::Job {
    let mut client = JobServiceClient::new(channel.clone());
    let job_id = job_id.to_owned();
    let response = client.get_job(v1::GetJobRequest { job_id }).await.unwrap();
    response.into_inner().job.unwrap()
}

/// Waits until the job is as wanted.
async fn until(channel: &Channel, id: &str, wanted: impl Fn(&v1::Job) -> bool) -> v1::Job {
    let start = Instant::now();
    loop {
        let job = job(channel, id).await;
        if wanted(&job) {
            return job;
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", job.state());
        sleep(Duration::from_millis(1)).await;
    }
}

async fn file(channel: &Channel, id: &str, image_index: u32, thumbnail: bool) -> Vec<u8> {
    let mut client = JobServiceClient::new(channel.clone());
    let request = v1::GetImageRequest {
        job_id: id.to_owned(),
        image_index,
        thumbnail,
    };
    let mut stream = client.get_image(request).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        file.extend_from_slice(&response.chunk.unwrap().data);
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_after_the_daemon_was_killed_and_its_pictures_are_the_same() {
    let mut house = House::with(save_always).await;
    let channel = house.channel().await;
    let mut client = JobServiceClient::new(channel.clone());
    let submitted = client.submit_job(request()).await.unwrap().into_inner();
    let id = submitted.job.unwrap().id;
    let is_saved = |job: &v1::Job| {
        job.in_flight
            .iter()
            .any(|image| image.evaluations_saved >= 2)
    };
    until(&channel, &id, |job| {
        is_saved(job) || job.state() == JobState::Succeeded
    })
    .await;
    house.signal(Signal::KILL);
    house.ended().await;

    house.start_again(save_always).await;
    let channel = house.channel().await;
    let mut client = JobServiceClient::new(channel.clone());
    let again = client.submit_job(request()).await.unwrap().into_inner();
    assert!(again.existed, "it is known by its request_id");
    let done = until(&channel, &id[..8], |job| job.state() == JobState::Succeeded).await;
    assert_eq!((done.images_done, done.in_flight.len()), (2, 0));
    for index in 0..2 {
        let undisturbed = house
            .picture(v1::GenerateRequest {
                seed: Some(7 + u64::from(index)),
                num_images: None,
                ..request().generate.unwrap()
            })
            .await;
        assert_eq!(file(&channel, &id, index, false).await, undisturbed.file);
        let thumbnail = file(&channel, &id, index, true).await;
        assert!(thumbnail.starts_with(&[0xff, 0xd8]), "a JPEG");
    }
    let library = house.status().await.library.unwrap();
    assert_eq!(
        library.images, 4,
        "two of the job, two of the undisturbed runs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_about_jobs_name_their_field() {
    let house = House::new().await;
    let channel = house.channel().await;
    let mut client = JobServiceClient::new(channel.clone());
    let id = "0123456789abcdef0123456789abcdef";
    for wrong in [
        "",
        "abc",
        "xyzw",
        "ABCD",
        "0123456789abcdef0123456789abcdef0",
    ] {
        for failure in each(&mut client, wrong).await {
            assert_eq!(failure.reason, Reason::InvalidField, "{wrong}");
            assert_eq!(failure.field.as_deref(), Some("job_id"), "{wrong}");
        }
    }
    for failure in each(&mut client, id).await {
        assert_eq!(failure.reason, Reason::JobNotFound);
    }
    for (field, change) in submissions() {
        let mut request = request();
        change(&mut request);
        let refused = client.submit_job(request).await.unwrap_err();
        let failure = Failure::from_status(&refused);
        assert_eq!(failure.reason, Reason::InvalidField, "{field}: {failure}");
        assert_eq!(failure.field.as_deref(), Some(field));
    }
    for (field, list) in lists() {
        let failure = Failure::from_status(&client.list_jobs(list).await.unwrap_err());
        assert_eq!(failure.reason, Reason::InvalidField, "{field}: {failure}");
        assert_eq!(failure.field.as_deref(), Some(field));
    }
    let jobs = client.list_jobs(v1::ListJobsRequest::default()).await;
    assert!(jobs.unwrap().into_inner().jobs.is_empty());
}

/// What every call says of a job of that name.
async fn each(client: &mut JobServiceClient<Channel>, id: &str) -> Vec<Failure> {
    let job_id = id.to_owned();
    let failure = |status: Status| Failure::from_status(&status);
    macro_rules! refused {
        ($($call:ident $request:ident),*) => {
            vec![$(failure(
                client.$call(v1::$request { job_id: job_id.clone(), ..Default::default() })
                    .await.map(drop).unwrap_err(),
            )),*]
        };
    }
    #[expect(
        clippy::needless_update,
        reason = "some requests have only the one field"
    )]
    let refused = refused![
        get_job GetJobRequest,
        list_images ListImagesRequest,
        watch_job WatchJobRequest,
        cancel_job CancelJobRequest,
        pause_job PauseJobRequest,
        resume_job ResumeJobRequest,
        retry_job RetryJobRequest,
        delete_job DeleteJobRequest,
        get_image GetImageRequest
    ];
    refused
}

type Change = fn(&mut v1::SubmitJobRequest);

fn submissions() -> Vec<(&'static str, Change)> {
    vec![
        ("generate", |request| request.generate = None),
        ("private", |request| {
            request.generate.as_mut().unwrap().private = Some(true);
        }),
        ("timeout", |request| {
            request.generate.as_mut().unwrap().timeout = Some(prost_types::Duration {
                seconds: 1,
                nanos: 0,
            });
        }),
        ("request_id", |request| {
            request.generate.as_mut().unwrap().request_id = "a b".to_owned();
        }),
        ("width_px", |request| {
            request.generate.as_mut().unwrap().width_px = Some(7);
        }),
        ("sampler", |request| {
            request.generate.as_mut().unwrap().sampler = "none".to_owned();
        }),
        ("hold_after_steps", |request| {
            request.hold_after_steps = 1_001
        }),
        ("num_images", |request| {
            request.images = vec![v1::ImageVariation::default(); 3];
        }),
        ("prompt", |request| {
            request.generate.as_mut().unwrap().num_images = None;
            request.images = vec![v1::ImageVariation {
                prompt: Some("x".repeat(40_000)),
                ..v1::ImageVariation::default()
            }];
        }),
    ]
}

fn lists() -> Vec<(&'static str, v1::ListJobsRequest)> {
    let list = v1::ListJobsRequest::default;
    vec![
        (
            "page_size",
            v1::ListJobsRequest {
                page_size: 1_001,
                ..list()
            },
        ),
        (
            "page_token",
            v1::ListJobsRequest {
                page_token: "zz".to_owned(),
                ..list()
            },
        ),
        (
            "states",
            v1::ListJobsRequest {
                states: vec![99],
                ..list()
            },
        ),
        (
            "request_id",
            v1::ListJobsRequest {
                request_id: "a b".to_owned(),
                ..list()
            },
        ),
    ]
}
