use proptest::prelude::*;

use super::*;

fn object(series: &str, start: Offset, records: u64) -> Extent {
    let partition = connector_core::TopicPartition::new("t", 0);
    let (place, series) = (format!("{series}/{start}"), series.to_owned());
    Extent { partition, start, end: None, records, counts: None, place, series }
}

fn range(offsets: Range<Offset>, counts: (u64, u64, u64)) -> Extent {
    let (delivered, filtered, rejected) = counts;
    Extent {
        end: Some(offsets.end),
        counts: Some(RangeCounts { delivered, filtered, rejected }),
        ..object("", offsets.start, delivered)
    }
}

/// A topic of 100 offsets, of which all are acknowledged.
fn evidence(extents: Vec<Extent>) -> Evidence {
    Evidence { log: 0..100, committed: Some(100), from_beginning: true, extents, ..Evidence::default() }
}

/// `start..end` with what is wrong there.
fn wrong(account: &Account) -> Vec<(Range<Offset>, u64, u64)> {
    let wrong = account.sections.iter().filter(|section| !section.tally.is_clean());
    wrong.map(|s| (s.start..s.end, s.tally.missing, s.tally.doubled)).collect()
}

fn tens(starts: impl IntoIterator<Item = Offset>) -> Vec<Extent> {
    starts.into_iter().map(|start| object("p", start, 10)).collect()
}

#[test]
fn objects_that_follow_one_another_are_one_section() {
    let account = account(&evidence(tens((0..100).step_by(10))));
    assert!(account.is_clean());
    assert_eq!((account.range, account.total.delivered, account.sections.len()), (0..100, 100, 1));
}

#[test]
fn an_object_that_is_gone_is_missing_wherever_it_was() {
    for gone in (0..100).step_by(10) {
        let mut extents = tens((0..100).step_by(10));
        extents.retain(|extent| extent.start != gone);
        let account = account(&evidence(extents));
        // An object that is gone is seen as what the one before does not hold, if there is one.
        let from = (gone - 10).max(0);
        assert_eq!(wrong(&account), [(from..gone + 10, 10, 0)], "{gone}");
    }
}

#[test]
fn an_object_under_a_wrong_start_is_doubled() {
    let mut extents = tens((0..100).step_by(10));
    extents.push(object("p", 25, 10));
    let account = account(&evidence(extents));
    assert_eq!(wrong(&account), [(20..25, 0, 5), (25..30, 0, 5)]);
}

#[test]
fn the_same_start_twice_is_doubled() {
    let mut extents = tens((0..100).step_by(10));
    extents.push(Extent { place: "p/20.gz".into(), ..object("p", 20, 10) });
    let account = account(&evidence(extents));
    assert_eq!((account.total.missing, account.total.doubled), (0, 10));
}

#[test]
fn several_directories_are_counted_together_from_cut_to_cut() {
    // Ten offsets, of which the odd ones are in another directory; then again.
    let extents =
        (0..100).step_by(10).flat_map(|at| [object("even", at, 5), object("odd", at + 1, 5)]).collect();
    let mut evidence = evidence(extents);
    assert!(account(&evidence).is_clean());
    // An object of one directory alone is gone.
    evidence.extents.retain(|extent| extent.start != 41);
    let gone = account(&evidence);
    assert_eq!((gone.total.missing, gone.total.doubled), (5, 0));
    assert_eq!(wrong(&gone), [(40..50, 5, 0)]);
    // One is there again under a later start, where its directory has an object whose cut it cannot belong to.
    evidence.extents.push(object("odd", 41, 5));
    evidence.extents.push(object("odd", 63, 5));
    let twice = account(&evidence);
    assert_eq!(twice.total.doubled - twice.total.missing, 5);
    assert!(wrong(&twice).iter().all(|(range, ..)| range.start >= 60 && range.end <= 70));
}

#[test]
fn dead_letters_are_accounted_for_and_one_that_is_delivered_too_is_doubled() {
    let mut evidence = evidence(vec![object("p", 0, 98)]);
    evidence.rejected = [7, 8].into_iter().collect();
    evidence.rejected_for_good = true;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.total.delivered, seen.total.rejected), (98, 2));
    evidence.extents[0].records = 99;
    assert_eq!(account(&evidence).total.doubled, 1);
    // With tolerance none the letter was written before the task failed, and the record may have come later (DLQ-36).
    evidence.rejected_for_good = false;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.total.delivered, seen.total.rejected), (99, 1));
    evidence.extents[0].records = 97;
    assert_eq!(account(&evidence).total.missing, 1);
}

#[test]
fn what_a_transform_may_have_dropped_is_not_called_missing() {
    let mut evidence = evidence(vec![object("p", 0, 7), object("p", 50, 40)]);
    evidence.filtering = true;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.total.delivered, seen.total.unexplained, seen.total.missing), (47, 53, 0));
    evidence.extents[0].records = 51;
    assert_eq!(account(&evidence).total.doubled, 1);
}

#[test]
fn gaps_of_the_topic_are_doubted_then_known() {
    // Each tenth offset is the end of a transaction.
    let extents: Vec<_> = (0..100).step_by(10).map(|at| object("p", at, 9)).collect();
    let mut evidence = evidence(extents);
    let seen = account(&evidence);
    assert_eq!(seen.total.missing, 10);
    assert_eq!(seen.doubts(&evidence), (0..100).collect());
    evidence.absent = (9..100).step_by(10).collect();
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!(seen.total.gaps, 10);
    assert!(seen.doubts(&evidence).is_empty());
    // What was compacted away after it was delivered is no gap.
    evidence.compacted = true;
    evidence.extents[3].records = 10;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.total.delivered, seen.total.gaps), (91, 9));
}

#[test]
fn only_what_kafka_still_has_can_be_asked_for() {
    let mut evidence = evidence(vec![object("p", 0, 30), object("p", 50, 50)]);
    evidence.log = 40..100;
    let seen = account(&evidence);
    assert_eq!(wrong(&seen), [(0..50, 20, 0)]);
    assert_eq!(seen.doubts(&evidence), (40..50).collect());
}

#[test]
fn the_beginning_and_the_end_are_those_of_topic_and_group() {
    let mut evidence = evidence(tens((20..80).step_by(10)));
    evidence.committed = Some(60);
    let seen = account(&evidence);
    assert_eq!(seen.range, 0..60);
    assert_eq!(wrong(&seen), [(0..20, 20, 0)]);
    assert_eq!((seen.unacknowledged, seen.behind, seen.foreign), (20, 40, 0));

    evidence.from_beginning = false;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.range, seen.not_read), (20..60, 20));

    // Retention took what was before the first object.
    evidence.from_beginning = true;
    evidence.log = 30..100;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!(seen.range, 20..60);

    // Retention took what was to be read next.
    evidence.log = 75..100;
    let seen = account(&evidence);
    assert_eq!((seen.expired, seen.behind, seen.is_clean()), (15, 25, false));
}

#[test]
fn an_empty_store_is_missing_all_that_is_acknowledged() {
    let mut evidence = evidence(Vec::new());
    for from_beginning in [true, false] {
        evidence.from_beginning = from_beginning;
        assert_eq!(account(&evidence).total.missing, 100);
    }
    evidence.committed = None;
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.range, seen.behind), (0..0, 100));
}

#[test]
fn a_group_without_an_offset_or_behind_the_end_proves_nothing() {
    let mut evidence = evidence(tens([0]));
    evidence.committed = None;
    let seen = account(&evidence);
    assert!(seen.no_offset && !seen.is_clean());
    assert_eq!(seen.unacknowledged, 10);

    evidence.committed = Some(10);
    evidence.log = 0..5;
    let seen = account(&evidence);
    assert!(seen.beyond_end && !seen.is_clean());

    evidence.committed = Some(0);
    evidence.extents = tens([7]);
    assert_eq!(account(&evidence).foreign, 10);
}

#[test]
fn ranges_that_the_store_knows_need_no_guess() {
    let extents = vec![range(0..40, (30, 4, 6)), range(40..70, (30, 0, 0)), range(70..100, (29, 0, 0))];
    let mut evidence = evidence(extents);
    evidence.committed = Some(40);
    let seen = account(&evidence);
    // The table's own position wins over the group's.
    assert_eq!((seen.range.clone(), seen.unacknowledged, seen.behind), (0..100, 0, 0));
    assert_eq!(wrong(&seen), [(70..100, 1, 0)]);
    evidence.absent = [80].into_iter().collect();
    let seen = account(&evidence);
    assert!(seen.is_clean());
    let Tally { delivered, filtered, rejected, gaps, .. } = seen.total;
    assert_eq!((delivered, filtered, rejected, gaps), (89, 4, 6, 1));
}

#[test]
fn ranges_that_are_not_there_or_there_twice_are_told() {
    let mut evidence = evidence(vec![range(0..40, (40, 0, 0)), range(60..100, (40, 0, 0))]);
    assert_eq!(wrong(&account(&evidence)), [(40..60, 20, 0)]);
    evidence.extents.push(range(35..60, (25, 0, 0)));
    assert_eq!(wrong(&account(&evidence)), [(35..60, 0, 5)]);
    // A transform that leaves records out is no excuse: what it left out is noted. Only before there was a table it is not.
    evidence.filtering = true;
    evidence.extents = vec![range(10..40, (20, 10, 0)), range(60..90, (30, 0, 0))];
    let seen = account(&evidence);
    assert_eq!(wrong(&seen), [(40..60, 20, 0), (90..100, 10, 0)]);
    assert_eq!(seen.total.unexplained, 10);
    evidence.filtering = false;
    // A version says more rows than it has.
    evidence.extents = vec![Extent { records: 90, ..range(0..100, (100, 0, 0)) }];
    assert_eq!(wrong(&account(&evidence)), [(0..100, 10, 0)]);
    // Offsets without records are no excuse for rows that were there.
    evidence.absent = (20..30).collect();
    assert_eq!(wrong(&account(&evidence)), [(0..100, 10, 0)]);
    evidence.absent = Offsets::default();
    // Only the position is left of what is older than the log.
    let old = Extent { counts: None, ..range(0..60, (0, 0, 0)) };
    evidence.extents = vec![old, range(60..100, (40, 0, 0))];
    let seen = account(&evidence);
    assert!(seen.is_clean());
    assert_eq!((seen.total.noted, seen.total.delivered), (60, 40));
}

/// What becomes of one offset.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// In the object of this directory.
    Goes(u8),
    Dies,
    /// No record.
    Gap,
}

fn fate(directories: u8) -> impl Strategy<Value = Fate> {
    prop_oneof![12 => (0..directories).prop_map(Fate::Goes), 1 => Just(Fate::Dies), 1 => Just(Fate::Gap)]
}

/// What a run without trouble leaves: cuts where `cuts` says, objects by directory between them.
fn run(fates: &[Fate], cuts: &[bool]) -> Evidence {
    let (mut extents, mut open): (Vec<Extent>, HashMap<u8, Extent>) = Default::default();
    for (offset, (fate, cut)) in (0..).zip(fates.iter().zip(cuts)) {
        if let Fate::Goes(to) = fate {
            open.entry(*to).or_insert_with(|| object(&to.to_string(), offset, 0)).records += 1;
        }
        if *cut {
            extents.extend(open.drain().map(|(_, extent)| extent));
        }
    }
    extents.extend(open.into_values());
    let of = |wanted| (0..).zip(fates).filter(move |(_, fate)| **fate == wanted).map(|(offset, _)| offset);
    let end = fates.len() as Offset;
    Evidence {
        log: 0..end,
        committed: Some(end),
        from_beginning: true,
        extents,
        rejected: of(Fate::Dies).collect(),
        rejected_for_good: true,
        absent: of(Fate::Gap).collect(),
        ..Evidence::default()
    }
}

fn a_run() -> impl Strategy<Value = Evidence> {
    let fates = (1..4_u8).prop_flat_map(|directories| prop::collection::vec(fate(directories), 1..120));
    (fates, prop::collection::vec(prop::bool::weighted(0.1), 120))
        .prop_map(|(fates, cuts)| run(&fates, &cuts))
}

fn adds_up(account: &Account) -> Result<(), TestCaseError> {
    for section in account.sections.iter().chain([&Section {
        start: account.range.start,
        end: account.range.end,
        tally: account.total,
        places: Vec::new(),
    }]) {
        let Tally { delivered, rejected, filtered, gaps, noted, unexplained, missing, doubled } =
            section.tally;
        let sum = delivered + rejected + filtered + gaps + noted + unexplained + missing;
        prop_assert_eq!(sum - doubled, length(&(section.start..section.end)), "{:?}", section);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_run_without_trouble_is_accounted_for(evidence in a_run()) {
        let account = account(&evidence);
        adds_up(&account)?;
        prop_assert!(account.is_clean(), "{:?}", account);
        let records: u64 = evidence.extents.iter().map(|e| e.records).sum();
        prop_assert_eq!(account.total.delivered, records);
    }

    #[test]
    fn an_object_that_is_gone_shows(mut evidence in a_run(), which in any::<prop::sample::Index>()) {
        prop_assume!(!evidence.extents.is_empty());
        let gone = evidence.extents.swap_remove(which.index(evidence.extents.len()));
        let account = account(&evidence);
        adds_up(&account)?;
        prop_assert_eq!(account.total.missing - account.total.doubled, gone.records);
        prop_assert!(!account.is_clean());
    }

    #[test]
    fn an_object_that_is_there_again_shows(
        mut evidence in a_run(), which in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!evidence.extents.is_empty());
        let copied = evidence.extents[which.index(evidence.extents.len())].clone();
        let start = to.index(evidence.log.end as usize) as Offset;
        evidence.extents.push(Extent { start, place: "copy".into(), ..copied.clone() });
        let account = account(&evidence);
        adds_up(&account)?;
        prop_assert_eq!(account.total.doubled - account.total.missing, copied.records);
        prop_assert!(!account.is_clean());
    }

    #[test]
    fn in_one_directory_each_trouble_is_told_by_itself(
        cuts in prop::collection::vec(prop::bool::weighted(0.2), 100), gone in 0..20_usize, copied in 0..20_usize,
    ) {
        let mut evidence = run(&[Fate::Goes(0); 100], &cuts);
        evidence.extents.sort_by_key(|extent| extent.start);
        prop_assume!(gone < evidence.extents.len() && copied < evidence.extents.len() && gone != copied);
        // A copy at its own place is as many records again, wherever another one is gone.
        let again = Extent { place: "copy".into(), ..evidence.extents[copied].clone() };
        let lost = evidence.extents[gone].records;
        evidence.extents.push(again.clone());
        evidence.extents.remove(gone);
        let account = account(&evidence);
        adds_up(&account)?;
        prop_assert_eq!((account.total.missing, account.total.doubled), (lost, again.records));
    }

    #[test]
    fn nothing_that_a_store_may_say_breaks_it(
        extents in prop::collection::vec(
            (any::<i64>(), prop::option::of(any::<i64>()), any::<u64>(), any::<(u64, u64, u64)>(), any::<bool>()), 0..8,
        ),
        log in any::<(i64, i64)>(), committed in prop::option::of(any::<i64>()), flags in any::<[bool; 4]>(),
    ) {
        let extents = extents.into_iter().map(|(start, end, records, counts, counted)| {
            let whole = Extent { records, end, start, ..range(0..1, counts) };
            Extent { counts: whole.counts.filter(|_| counted), ..whole }
        });
        let [from_beginning, rejected_for_good, compacted, filtering] = flags;
        let evidence = Evidence {
            log: log.0..log.1, committed, from_beginning, rejected_for_good, compacted, filtering,
            extents: extents.collect(), ..Evidence::default()
        };
        account(&evidence).doubts(&evidence);
    }
}
