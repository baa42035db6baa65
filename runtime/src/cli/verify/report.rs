//! What `sidestream verify` says: as JSON, and as a table for people.

use connector_core::{Extent, Offset, TopicPartition};
use serde::Serialize;

use super::account::{Account, Evidence, Section, Tally};
use crate::config::ConnectorConfig;

/// Places that are named of a section, for people.
const PLACES: usize = 3;

/// A connector and all of its topic-partitions.
#[derive(Debug, Serialize)]
pub struct ConnectorReport {
    pub name: String,
    pub sink: String,
    pub group: String,
    /// Each offset that the connector has acknowledged is delivered once, refused, left out on purpose, or no record.
    pub accounted: bool,
    /// Why nothing could be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    pub partitions: Vec<PartitionReport>,
}

#[derive(Debug, Serialize)]
pub struct DeadLetters {
    pub topic: String,
    /// Records of the connector that are there; one that is there several times counts once.
    pub records: u64,
    /// Letters without headers that say whose they are.
    pub unnamed: u64,
}

/// A topic-partition; offsets and numbers of records.
#[derive(Debug, Serialize)]
pub struct PartitionReport {
    pub topic: String,
    pub partition: i32,
    pub accounted: bool,
    /// Offsets that are accounted for: `end` is the first that is not acknowledged.
    pub start: Offset,
    pub end: Offset,
    /// The group's offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<Offset>,
    /// End of a range whose publication began; the connector finishes it when it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended: Option<Offset>,
    /// What Kafka has.
    pub log_start: Offset,
    pub log_end: Offset,
    #[serde(flatten)]
    pub total: Tally,
    /// Records in the store that are not acknowledged yet.
    pub unacknowledged: u64,
    /// Offsets that the connector was told not to read.
    pub not_read: u64,
    /// Offsets that are to come.
    pub behind: u64,
    pub ranges: Vec<RangeReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct RangeReport {
    state: State,
    #[serde(flatten)]
    section: Section,
    /// What the store has of it; only where something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<String>,
}

/// The worst that is to be said of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Each record once, or refused, or left out.
    Accounted,
    FilteredOrMissing,
    Missing,
    Doubled,
    MissingAndDoubled,
}

impl State {
    fn of(tally: &Tally) -> Self {
        match (tally.missing > 0, tally.doubled > 0) {
            (true, true) => Self::MissingAndDoubled,
            (true, false) => Self::Missing,
            (false, true) => Self::Doubled,
            (false, false) if tally.unexplained > 0 => Self::FilteredOrMissing,
            (false, false) => Self::Accounted,
        }
    }
}

impl From<Section> for RangeReport {
    fn from(mut section: Section) -> Self {
        let places = std::mem::take(&mut section.places);
        Self { state: State::of(&section.tally), section, places }
    }
}

impl PartitionReport {
    pub fn new(
        tp: &TopicPartition,
        evidence: &Evidence,
        account: Account,
        mut problems: Vec<String>,
    ) -> Self {
        if account.expired > 0 {
            problems.push(format!(
                "{} were deleted by Kafka before the connector read them: it was behind its topic's retention",
                offsets(account.expired)
            ));
        }
        if account.beyond_end {
            problems.push(format!(
                "the connector has acknowledged offset {}, and the topic ends at {}: it was made again, or the offset \
                 was set by hand",
                account.range.end, evidence.log.end
            ));
        }
        if account.foreign > 0 {
            problems.push(format!(
                "{} in the store begin behind the topic's end at {}: they are of an earlier topic of this name, or \
                 foreign",
                records(account.foreign),
                evidence.log.end
            ));
        }
        if account.no_offset {
            problems.push(
                "the store has records, and the group has no offset, so nothing is acknowledged: the group was deleted, \
                 or has been inactive for longer than the brokers keep offsets"
                    .to_owned(),
            );
        }
        let accounted = account.is_clean() && problems.is_empty();
        Self {
            topic: tp.topic.to_string(),
            partition: tp.partition,
            accounted,
            start: account.range.start,
            end: account.range.end,
            committed: evidence.committed,
            intended: evidence.intended,
            log_start: evidence.log.start,
            log_end: evidence.log.end,
            total: account.total,
            unacknowledged: account.unacknowledged,
            not_read: account.not_read,
            behind: account.behind,
            ranges: account.sections.into_iter().map(RangeReport::from).collect(),
            problems,
        }
    }

    /// The store has something of a partition that Kafka does not have.
    pub fn without_topic(tp: &TopicPartition, extents: &[Extent]) -> Self {
        let (evidence, mut account) = (Evidence::default(), Account::default());
        let held = extents.iter().fold(0u64, |sum, extent| sum.saturating_add(extent.records));
        account.foreign = 0;
        let problem = format!("the store has {} of it, and Kafka has no such partition", records(held));
        Self::new(tp, &evidence, account, vec![problem])
    }

    fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}

impl ConnectorReport {
    pub fn failed(connector: &ConnectorConfig, sink: &str, error: String) -> Self {
        Self {
            name: connector.name.clone(),
            sink: sink.to_owned(),
            group: format!("connect-{}", connector.name),
            accounted: false,
            error: Some(error),
            dead_letters: None,
            notes: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// Judges the whole. `reasons`: what may have left records out.
    pub fn conclude(&mut self, reasons: &[String]) {
        let total = self.total();
        self.accounted = self.partitions.iter().all(|partition| partition.accounted);
        if let Some(letters) = &mut self.dead_letters {
            letters.records = total.rejected;
            // Only their number can be compared.
            let only_missing = self.partitions.iter().all(|p| p.problems.is_empty())
                && total.doubled == 0
                && total.missing > 0;
            if letters.unnamed > 0 && only_missing && total.missing == letters.unnamed {
                self.accounted = true;
                self.notes.push(format!(
                    "as many records are missing as `{}` has letters without headers, so they count as those; \
                     `errors.deadletterqueue.context.headers.enable: true` makes later ones certain",
                    letters.topic
                ));
            } else if letters.unnamed > 0 {
                self.notes.push(format!(
                    "`{}` has {} without headers: which records they are is not known; set \
                     `errors.deadletterqueue.context.headers.enable: true`",
                    letters.topic,
                    many(letters.unnamed, "letter")
                ));
            }
        }
        if total.unexplained > 0 {
            self.notes.push(format!(
                "{} are in no object: left out by {}, or missing; it cannot be told",
                records(total.unexplained),
                reasons.join(" or ")
            ));
        }
        if total.noted > 0 {
            self.notes.push(format!(
                "{} are behind the position that the store keeps, but older than its log, which has their ranges",
                offsets(total.noted)
            ));
        }
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.partitions.iter().for_each(|partition| total.add(&partition.total));
        total
    }
}

/// For people.
pub fn text(connectors: &[ConnectorReport]) -> String {
    connectors.iter().map(connector).collect::<Vec<_>>().join("\n")
}

fn connector(report: &ConnectorReport) -> String {
    let mut text = format!("{}: {}, group {}\n", report.name, report.sink, report.group);
    if let Some(error) = &report.error {
        return text + &format!("  not verified: {error}\n");
    }
    text += &table(report);
    if let Some(DeadLetters { topic, records: number, unnamed }) = &report.dead_letters {
        text += &format!("  {} refused; dead letters are in `{topic}`", records(*number));
        text +=
            &if *unnamed > 0 { format!(", {unnamed} of them without headers\n") } else { "\n".to_owned() };
    }
    for note in &report.notes {
        text += &format!("  note: {note}\n");
    }
    let bad = report.partitions.iter().filter(|partition| !partition.accounted).count();
    let (all, total) = (report.partitions.len(), report.total());
    text += &match report.accounted {
        true => format!("  accounted for: {} in the store\n", records(total.delivered)),
        false => format!(
            "  NOT ACCOUNTED FOR: {} missing, {} doubled, in {bad} of {}\n",
            total.missing,
            total.doubled,
            many(all as u64, "partition")
        ),
    };
    text
}

/// A column: its heading, its text of a partition, and whether it is left out when all are zero.
type Column = (&'static str, fn(&PartitionReport) -> String, bool);

const COLUMNS: [Column; 12] = [
    ("partition", |p| p.name(), false),
    ("offsets", |p| format!("{}..{}", p.start, p.end), false),
    ("delivered", |p| p.total.delivered.to_string(), false),
    ("refused", |p| p.total.rejected.to_string(), true),
    ("filtered", |p| p.total.filtered.to_string(), true),
    ("gaps", |p| p.total.gaps.to_string(), true),
    ("older", |p| p.total.noted.to_string(), true),
    ("filtered or missing", |p| p.total.unexplained.to_string(), true),
    ("missing", |p| p.total.missing.to_string(), false),
    ("doubled", |p| p.total.doubled.to_string(), false),
    ("not acknowledged", |p| p.unacknowledged.to_string(), true),
    ("to come", |p| p.behind.to_string(), false),
];

fn table(report: &ConnectorReport) -> String {
    let all = &report.partitions;
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, text, optional)| !optional || all.iter().any(|partition| text(partition) != "0"))
        .collect();
    let width = |(heading, text, _): &&Column| {
        all.iter().map(|partition| text(partition).len()).max().unwrap_or(0).max(heading.len())
    };
    let widths: Vec<usize> = shown.iter().map(width).collect();
    let row = |cells: Vec<String>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = row(shown.iter().map(|(heading, ..)| (*heading).to_owned()).collect());
    for partition in all {
        text += &row(shown.iter().map(|(_, of, _)| of(partition)).collect());
        let wrong = partition.ranges.iter().filter(|range| range.state != State::Accounted);
        wrong.for_each(|range| text += &format!("    {}\n", range_text(range)));
        for problem in &partition.problems {
            text += &format!("    {problem}\n");
        }
        if let Some(end) = partition.intended.filter(|end| *end > partition.end) {
            text += &format!("    {}..{end} is being published\n", partition.end);
        }
        if partition.not_read > 0 {
            text += &format!(
                "    {} before {} were not to be read\n",
                offsets(partition.not_read),
                partition.start
            );
        }
    }
    text
}

fn range_text(range: &RangeReport) -> String {
    let Section { start, end, tally, .. } = &range.section;
    let mut what = Vec::new();
    for (number, is) in
        [(tally.missing, "missing"), (tally.doubled, "doubled"), (tally.unexplained, "filtered or missing")]
    {
        if number > 0 {
            what.push(format!("{number} {is}"));
        }
    }
    let mut text = format!("{start}..{end}: {}", what.join(", "));
    let mut places: Vec<&str> = range.places.iter().take(PLACES).map(String::as_str).collect();
    let more = range.places.len().saturating_sub(PLACES);
    let more = format!("{more} more");
    if range.places.len() > PLACES {
        places.push(&more);
    }
    text += &match places.is_empty() {
        true => "; the store has nothing of it".to_owned(),
        false => format!("; the store has {}", places.join(", ")),
    };
    text
}

fn records(number: u64) -> String {
    many(number, "record")
}

fn offsets(number: u64) -> String {
    many(number, "offset")
}

fn many(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::account::account;
    use super::super::offsets::Offsets;
    use super::*;

    fn object(start: Offset, records: u64) -> Extent {
        let partition = TopicPartition::new("orders", 0);
        let place = format!("topics/orders/partition=0/orders+0+{start:010}.json");
        Extent { partition, start, end: None, records, counts: None, place, series: String::new() }
    }

    fn report(evidence: &[Evidence], letters: Option<DeadLetters>, reasons: &[String]) -> ConnectorReport {
        let partitions = (0..).zip(evidence).map(|(number, evidence)| {
            PartitionReport::new(
                &TopicPartition::new("orders", number),
                evidence,
                account(evidence),
                Vec::new(),
            )
        });
        let mut report = ConnectorReport {
            name: "archive".into(),
            sink: "s3-sink".into(),
            group: "connect-archive".into(),
            accounted: false,
            error: None,
            dead_letters: letters,
            notes: Vec::new(),
            partitions: partitions.collect(),
        };
        report.conclude(reasons);
        report
    }

    fn whole() -> Evidence {
        Evidence {
            log: 0..30,
            committed: Some(20),
            from_beginning: true,
            extents: vec![object(0, 10), object(10, 10)],
            ..Evidence::default()
        }
    }

    #[test]
    fn a_table_for_people() {
        let bad = Evidence {
            extents: vec![object(0, 10), object(5, 10), object(20, 3)],
            committed: Some(20),
            intended: Some(23),
            ..whole()
        };
        let queue = DeadLetters { topic: "dead".into(), records: 0, unnamed: 0 };
        insta::assert_snapshot!(connector(&report(&[whole(), bad], Some(queue), &[])), @r"
        archive: s3-sink, group connect-archive
          partition  offsets  delivered  missing  doubled  not acknowledged  to come
          orders-0     0..20         20        0        0                 0       10
          orders-1     0..20         20        5        5                 3       10
            0..5: 5 doubled; the store has topics/orders/partition=0/orders+0+0000000000.json
            5..20: 5 missing; the store has topics/orders/partition=0/orders+0+0000000005.json
            20..23 is being published
          0 records refused; dead letters are in `dead`
          NOT ACCOUNTED FOR: 5 missing, 5 doubled, in 1 of 2 partitions
        ");
    }

    #[test]
    fn letters_without_headers_are_compared_by_their_number() {
        let short = Evidence { extents: vec![object(0, 8), object(10, 10)], ..whole() };
        let queue = |unnamed| Some(DeadLetters { topic: "dead".into(), records: 0, unnamed });
        assert!(report(std::slice::from_ref(&short), queue(2), &[]).accounted);
        for (evidence, unnamed) in [(&short, 1), (&short, 3), (&short, 0)] {
            assert!(!report(std::slice::from_ref(evidence), queue(unnamed), &[]).accounted, "{unnamed}");
        }
        assert!(report(&[whole()], queue(2), &[]).accounted);
    }

    #[test]
    fn what_may_be_filtered_is_said_and_by_what() {
        let filtering = Evidence { extents: vec![object(0, 8)], filtering: true, ..whole() };
        let report = report(&[filtering], None, &["the transform `only`".to_owned()]);
        assert!(report.accounted);
        assert!(report.notes[0].starts_with("12 records are in no object: left out by the transform `only`"));
    }

    #[test]
    fn ranges_of_the_json_form_have_a_state() {
        let letters = Evidence {
            rejected: [3].into_iter().collect::<Offsets>(),
            rejected_for_good: true,
            extents: vec![object(0, 9), object(10, 9)],
            ..whole()
        };
        let report = report(&[letters], None, &[]);
        let ranges = serde_json::to_value(&report.partitions[0].ranges).unwrap();
        let state =
            |at: usize| (ranges[at]["state"].as_str().unwrap(), ranges[at]["start"].as_i64().unwrap());
        assert_eq!((state(0), state(1)), (("accounted", 0), ("missing", 10)));
        assert_eq!(ranges[0]["rejected"], 1);
        assert_eq!(ranges[1]["places"][0], "topics/orders/partition=0/orders+0+0000000010.json");
    }
}
