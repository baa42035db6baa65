//! A job that cannot do its work says so, and ends.

use crate::support::services;
use crate::{Job, gzip, rows};

#[test]
fn an_endless_source_is_refused_before_anything_runs() {
    let job = Job::new(services().moto);
    let run = job.run(&job.connector("pin", "", "      objects.follow: true"), &[]);
    assert_eq!(run.code(), 1, "{}", run.text());
    assert!(run.text().contains("pins"), "{}", run.text());
    assert!(!job.table("pin").exists());
}

#[test]
fn a_corrupt_object_fails_the_job_by_name_and_tolerance_lets_the_rest_through() {
    let job = Job::new(services().moto);
    let [pins, ..] = rows(100, 21);
    job.put("pin", 0, &pins[..40], 20);
    let lines: String = pins[40..60].iter().map(|row| format!("{row}\n")).collect();
    let whole = gzip(lines.as_bytes());
    job.put_object("pin", "0000000040.json.gz", &whole[..whole.len() - 10]);
    job.put_object(
        "pin",
        "0000000060.json",
        format!("{}\n{{\"index\": 7, \"title\": \"half\n{}\n", pins[60], pins[61]).as_bytes(),
    );
    job.put("pin", 63, &pins[62..], 20);

    let strict = job.run(&job.connector("pin", "", ""), &["--timeout", "2m"]);
    assert_eq!(strict.code(), 1, "{}", strict.text());
    let reason = strict.summary("pins")["errors"][0].as_str().unwrap().to_owned();
    assert!(reason.contains("0000000040.json.gz line ") && reason.contains("gzip"), "{reason}");
    assert!(!strict.text().contains(pins[0]["unique_id"].as_str().unwrap()), "{}", strict.text());

    let lenient = job.run(&job.connector("pin", "    errors.tolerance: all", ""), &[]);
    assert_eq!(lenient.code(), 0, "{}", lenient.text());
    assert_eq!(lenient.summary("pins")["rejected"], 2, "{}", lenient.text());
    let keys = job.read("pin").keys();
    let expected = |rows: &[serde_json::Value]| {
        rows.iter().map(|row| row["index"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for good in [&pins[..40], &pins[60..]] {
        assert!(expected(good).iter().all(|key| keys.binary_search(key).is_ok()), "{keys:?}");
    }
    assert!(keys.iter().all(|key| expected(&pins).contains(key)));
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "a key is there twice: {keys:?}");
}

#[test]
fn a_row_that_the_cleaner_refuses_is_named_by_its_object_and_line_with_kafka_and_without() {
    let job = Job::new(services().moto);
    let [mut pins, ..] = rows(30, 22);
    pins[13]["follower_count"] = "very many".into();
    job.put("pin", 0, &pins[..10], 1);
    // Behind an empty line and in an array, over several lines.
    let array = serde_json::to_string_pretty(&pins[10..]).unwrap();
    job.put_object("pin", "0000000010.json", format!("\n{array}\n").as_bytes());
    let lines: Vec<_> = array.lines().collect();
    let wrong = lines.iter().position(|line| line.contains("very many")).unwrap();
    let begins = lines[..wrong].iter().rposition(|line| *line == "  {").unwrap();
    let topic = format!("{}.pin", job.id);
    let key = format!("topics/{topic}/partition=0/{topic}+0+0000000010.json");
    let place = format!("s3://{}/{key} line {}", job.bucket, begins + 2);

    let strict = job.run(&job.connector("pin", "", ""), &["--timeout", "2m"]);
    assert_eq!(strict.code(), 1, "{}", strict.text());
    let reason = strict.summary("pins")["errors"][0].as_str().unwrap().to_owned();
    assert!(reason.starts_with(&format!("pins-0 offset 13 ({place}): transform `clean`: ")), "{reason}");
    assert!(!strict.text().contains("very many"), "{}", strict.text());

    let lenient = job.run(&job.connector("pin", "    errors.tolerance: all", ""), &[]);
    assert_eq!((lenient.code(), &lenient.summary("pins")["rejected"]), (0, &1.into()), "{}", lenient.text());
    let skipped = format!("record skipped: pins-0 offset 13 ({place}): ");
    assert!(lenient.text().contains(&skipped), "{}", lenient.text());

    let (kafka, id) = (services().kafka, &job.id);
    kafka.create_topics([(topic.as_str(), 1)]);
    let replay = format!(
        "  {id}-replay:
    transforms: [{{name: clean, type: pin-cleaner}}]
    source:
      class: objects-source
      objects.path: s3://{}/topics/{topic}/partition=0/*.json
      topic: {topic}
      s3.region: us-east-1
      store.url: {}
",
        job.bucket, job.s3.url
    );
    let worker = format!("  bootstrap.servers: {}\n  group.id: {id}\n", kafka.brokers);
    let strict = job.run_with(&worker, &replay, &["--timeout", "2m"]);
    assert_eq!(strict.code(), 1, "{}", strict.text());
    let reason = strict.summary(&format!("{id}-replay"))["errors"][0].as_str().unwrap().to_owned();
    assert!(reason.starts_with(&format!("a record for topic `{topic}` ({place}): transform")), "{reason}");
    assert!(!strict.text().contains("very many"), "{}", strict.text());
}

#[test]
fn a_missing_bucket_and_a_path_without_objects_end_the_job_with_the_remedy() {
    let job = Job::new(services().moto);
    let nothing = job.run(&job.connector("pin", "", ""), &["--timeout", "2m"]);
    assert_eq!(nothing.code(), 1, "{}", nothing.text());
    assert!(nothing.text().contains("no object matches") && nothing.text().contains("objects.path"));
    let elsewhere = job.connector("pin", "", "").replace(&job.bucket, "no-such-bucket");
    let missing = job.run(&elsewhere, &["--timeout", "2m"]);
    assert_eq!(missing.code(), 1, "{}", missing.text());
    assert!(missing.text().contains("the bucket does not exist"), "{}", missing.text());
}

#[test]
fn a_service_that_is_away_ends_the_job_at_its_timeout() {
    let job = Job::new(services().moto);
    let away = job.connector("pin", "", "").replace(&job.s3.url, "http://127.0.0.1:9");
    let run = job.run(&away, &["--timeout", "5s"]);
    assert_eq!(run.code(), 3, "{}", run.text());
    assert!(run.text().contains("--timeout"), "{}", run.text());
}
