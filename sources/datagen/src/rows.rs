//! One row of each table for each number.

use crate::random::Random;
use crate::text;

/// What the emulator's tables write where they have nothing.
pub const NO_TITLE: &str = "No Title Data Available";
pub const NO_TAGS: &str = "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e";
pub const NO_USER: &str = "User Info Error";
pub const NO_IMAGE: &str = "Image src error.";
pub const NO_STORY: &str = "No description available Story format";
pub const NO_DESCRIPTION: &str = "No description available";

/// Seconds since 1970 of 2017-10-01 and 2022-10-31, of 2015-10-01 and 2017-10-31.
const POSTED: (i64, i64) = (1_506_816_000, 1_667_174_400);
const JOINED: (i64, i64) = (1_443_657_600, 1_509_408_000);

/// A row of `pinterest_data`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    pub index: i64,
    pub unique_id: String,
    pub title: String,
    pub description: String,
    pub poster_name: String,
    pub follower_count: String,
    pub tag_list: String,
    pub is_image_or_video: String,
    pub image_src: String,
    pub downloaded: i64,
    pub save_location: String,
    pub category: String,
}

/// A row of `geolocation_data`.
#[derive(Clone, Debug, PartialEq)]
pub struct Geo {
    pub ind: i64,
    /// Seconds since 1970-01-01.
    pub timestamp: i64,
    /// Degrees, with the six digits that a MySQL FLOAT shows.
    pub latitude: f32,
    pub longitude: f32,
    pub country: String,
}

/// A row of `user_data`.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub ind: i64,
    pub first_name: String,
    pub last_name: String,
    pub age: i64,
    /// Seconds since 1970-01-01.
    pub date_joined: i64,
}

/// The three rows with one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub pin: Pin,
    pub geo: Geo,
    pub user: User,
}

/// All rows of a seed, from number 0 on, without end.
pub fn rows(seed: u64) -> impl Iterator<Item = Row> {
    (0..).map(move |n| Row { pin: Pin::at(seed, n), geo: Geo::at(seed, n), user: User::at(seed, n) })
}

/// The row that step `step` sends: `step` itself, or in a share `duplicates` of the steps one that was sent before.
pub fn row_of_step(seed: u64, step: u64, duplicates: f64) -> u64 {
    let mut row = step;
    loop {
        let mut random = Random::of(seed, 4, row);
        if row == 0 || !random.chance(duplicates) {
            return row;
        }
        row = random.below(row);
    }
}

/// Whether step `step` also sends its pin to the users' topic by mistake.
pub fn is_missent(seed: u64, step: u64, share: f64) -> bool {
    Random::of(seed, 5, step).chance(share)
}

impl Pin {
    /// Row `n` of `seed`.
    pub fn at(seed: u64, n: u64) -> Self {
        let mut r = Random::of(seed, 1, n);
        let category = r.pick(text::CATEGORIES);
        let kind = match r.below(100) {
            0..82 => "image",
            82..97 => "multi-video(story page format)",
            _ => "video",
        };
        let (poster_name, follower_count) = poster(&mut r);
        let with_image = !r.chance(0.08);
        Self {
            index: n as i64,
            unique_id: unique_id(&mut r),
            title: title(&mut r),
            description: description(&mut r),
            poster_name,
            follower_count,
            tag_list: tags(&mut r),
            is_image_or_video: kind.to_owned(),
            image_src: if with_image { image(&mut r, kind) } else { NO_IMAGE.to_owned() },
            downloaded: i64::from(with_image),
            save_location: format!("Local save in /data/{category}"),
            category: category.to_owned(),
        }
    }
}

impl Geo {
    /// Row `n` of `seed`.
    pub fn at(seed: u64, n: u64) -> Self {
        let mut r = Random::of(seed, 2, n);
        Self {
            ind: n as i64,
            timestamp: r.between(POSTED.0, POSTED.1),
            latitude: degrees(&mut r, 90.0),
            longitude: degrees(&mut r, 180.0),
            country: r.pick(text::COUNTRIES).to_owned(),
        }
    }
}

impl User {
    /// Row `n` of `seed`.
    pub fn at(seed: u64, n: u64) -> Self {
        let mut r = Random::of(seed, 3, n);
        Self {
            ind: n as i64,
            first_name: r.pick(text::FIRST_NAMES).to_owned(),
            last_name: r.pick(text::LAST_NAMES).to_owned(),
            age: r.between(20, 60),
            date_joined: r.between(JOINED.0, JOINED.1),
        }
    }
}

/// Six significant digits, so that the text is the same whether 32 or 64 bits hold it.
fn degrees(r: &mut Random, limit: f64) -> f32 {
    let degrees = (r.fraction() * 2.0 - 1.0) * limit;
    format!("{degrees:.5e}").parse().unwrap_or(0.0)
}

fn unique_id(r: &mut Random) -> String {
    let (a, b) = (r.next(), r.next());
    // A version 4 UUID: its version and variant bits are fixed.
    let (third, fourth) = (0x4000 | (a & 0x0fff), 0x8000 | ((b >> 48) & 0x3fff));
    format!(
        "{:08x}-{:04x}-{third:04x}-{fourth:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        b & 0xffff_ffff_ffff
    )
}

fn title(r: &mut Random) -> String {
    match r.below(100) {
        0..5 => NO_TITLE.to_owned(),
        5..12 => r.pick(text::ODD_TITLES).to_owned(),
        12..50 => format!(
            "{} {} {} Ideas {}",
            r.between(3, 60),
            r.pick(text::ADJECTIVES),
            r.pick(text::NOUNS),
            r.pick(text::ENDINGS)
        ),
        _ => format!("{} {} {}", r.pick(text::ADJECTIVES), r.pick(text::NOUNS), r.pick(text::ENDINGS)),
    }
}

fn description(r: &mut Random) -> String {
    match r.below(1000) {
        0..150 => return NO_STORY.to_owned(),
        150..167 => return NO_DESCRIPTION.to_owned(),
        167 => return "Untitled".to_owned(),
        168..180 => return r.pick(text::ODD_DESCRIPTIONS).to_owned(),
        _ => {}
    }
    let sentences: Vec<_> = (0..r.between(2, 7)).map(|_| r.pick(text::SENTENCES)).collect();
    // 36 % of all descriptions were cut off by the site: an ellipsis and a no-break space.
    let end = if r.chance(0.44) { "…\u{a0}" } else { "" };
    sentences.join(" ") + end
}

/// Name and follower count: the placeholder stands in both or in neither.
fn poster(r: &mut Random) -> (String, String) {
    let count = match r.below(1000) {
        0..9 => return (NO_USER.to_owned(), NO_USER.to_owned()),
        9..764 => format!("{}k", r.between(1, 999)),
        764..836 => format!("{}M", r.between(1, 20)),
        836..840 => "0".to_owned(),
        _ => r.between(1, 999).to_string(),
    };
    let name = match r.below(100) {
        0..2 => format!(" {}", r.pick(text::STUDIOS)),
        2..4 => format!("{} ", r.pick(text::STUDIOS)),
        4..40 => format!("{} {}", r.pick(text::FIRST_NAMES), r.pick(text::LAST_NAMES)),
        _ => r.pick(text::STUDIOS).to_owned(),
    };
    (name, count)
}

fn tags(r: &mut Random) -> String {
    if r.chance(0.07) {
        return NO_TAGS.to_owned();
    }
    let tags: Vec<_> = (0..r.between(4, 15)).map(|_| r.pick(text::TAGS)).collect();
    tags.join(",")
}

fn image(r: &mut Random, kind: &str) -> String {
    let (a, b) = (r.next(), r.next());
    let folder = format!("{:02x}/{:02x}/{:02x}", a >> 56, (a >> 48) & 0xff, (a >> 40) & 0xff);
    match kind {
        "image" => format!("https://img.example.com/originals/{folder}/{a:016x}{b:016x}.jpg"),
        _ => format!(
            "https://img.example.com/videos/thumbnails/originals/{folder}/{a:016x}{b:016x}.0000001.jpg"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 20_000;

    fn share(of: impl Fn(&Row) -> bool) -> f64 {
        rows(7).take(ROWS).filter(|row| of(row)).count() as f64 / ROWS as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_rows_from_any_place() {
        let all: Vec<_> = rows(100).take(50).collect();
        assert_eq!(all, rows(100).take(50).collect::<Vec<_>>());
        assert_eq!(all[49].pin, Pin::at(100, 49));
        assert_ne!(all[0].pin.unique_id, Pin::at(101, 0).unique_id);
        let ids: std::collections::HashSet<_> = all.iter().map(|r| &r.pin.unique_id).collect();
        assert_eq!(ids.len(), 50);
    }

    #[test]
    fn placeholders_come_as_often_as_in_real_tables() {
        let near =
            |share: f64, wanted: f64| assert!((share - wanted).abs() < 0.01, "{share} is not near {wanted}");
        near(share(|r| r.pin.follower_count.ends_with('k')), 0.755);
        near(share(|r| r.pin.follower_count.ends_with('M')), 0.072);
        near(share(|r| r.pin.poster_name == NO_USER), 0.009);
        near(share(|r| r.pin.description.ends_with("…\u{a0}")), 0.36);
        near(share(|r| r.pin.image_src == NO_IMAGE), 0.08);
        near(share(|r| r.pin.title == NO_TITLE), 0.05);
    }

    #[test]
    fn rows_keep_the_rules_of_the_real_ones() {
        for row in rows(7).take(ROWS) {
            let (pin, geo, user) = (&row.pin, &row.geo, &row.user);
            assert_eq!(pin.downloaded == 0, pin.image_src == NO_IMAGE);
            assert_eq!(pin.poster_name == NO_USER, pin.follower_count == NO_USER);
            assert_eq!(pin.save_location, format!("Local save in /data/{}", pin.category));
            assert_eq!((pin.index, geo.ind), (user.ind, user.ind));
            assert!(
                (20..=60).contains(&user.age) && geo.latitude.abs() <= 90.0 && geo.longitude.abs() <= 180.0
            );
            let digits = geo.latitude.to_string().chars().filter(char::is_ascii_digit).count();
            assert!(digits <= 6 || geo.latitude.abs() < 1.0, "{}", geo.latitude);
        }
    }

    #[test]
    fn pins_are_as_long_as_real_ones() {
        let size = |p: &Pin| {
            let texts =
                [&p.unique_id, &p.title, &p.description, &p.poster_name, &p.follower_count, &p.tag_list];
            let more = [&p.is_image_or_video, &p.image_src, &p.save_location, &p.category];
            // 230 bytes of names, quotes, numbers and punctuation.
            230 + texts.into_iter().chain(more).map(String::len).sum::<usize>()
        };
        let sizes: Vec<_> = rows(7).take(ROWS).map(|r| size(&r.pin)).collect();
        let mean = sizes.iter().sum::<usize>() / ROWS;
        assert!((680..850).contains(&mean), "{mean}");
    }

    #[test]
    fn a_duplicate_is_a_row_that_was_sent_before() {
        let mut again = 0;
        for step in 0..ROWS as u64 {
            let row = row_of_step(7, step, 0.1);
            assert!(row <= step);
            again += usize::from(row < step);
        }
        assert!((1_800..2_200).contains(&again), "{again}");
        assert!((0..100).all(|step| row_of_step(7, step, 0.0) == step));
    }
}
