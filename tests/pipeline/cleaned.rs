//! The cleaning rules, written down a second time.

use serde_json::{Value, json};

/// What the cleaned row of `raw` has to be, by the rules of the pipeline's notebooks.
pub fn check_cleaned(table: &str, raw: &Value, cleaned: &Value) {
    let time = |text: &Value| json!(format!("{}Z", text.as_str().unwrap().replace(' ', "T")));
    let expected = match table {
        "pin" => {
            let unless = |key: &str, placeholders: &[&str]| {
                let text = raw[key].as_str().unwrap();
                if placeholders.contains(&text) { Value::Null } else { text.into() }
            };
            let followers = raw["follower_count"].as_str().unwrap();
            let followers = match followers.strip_suffix('k').map(|n| (n, 1000)) {
                Some((n, times)) => json!(n.parse::<i64>().unwrap() * times),
                None => match followers.strip_suffix('M') {
                    Some(n) => json!(n.parse::<i64>().unwrap() * 1_000_000),
                    None => followers.parse::<i64>().map_or(Value::Null, Value::from),
                },
            };
            let place = raw["save_location"].as_str().unwrap().strip_prefix("Local save in ").unwrap();
            json!({
                "ind": raw["index"],
                "unique_id": raw["unique_id"],
                "title": unless("title", &["No Title Data Available"]),
                "description": unless(
                    "description",
                    &["No description available Story format", "No description available"]
                ),
                "follower_count": followers,
                "poster_name": unless("poster_name", &["User Info Error"]),
                "tag_list": unless("tag_list", &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"]),
                "is_image_or_video": raw["is_image_or_video"],
                "image_src": unless("image_src", &["Image src error."]),
                "save_location": place,
                "category": raw["category"],
                "downloaded": raw["downloaded"],
            })
        }
        "geo" => json!({
            "ind": raw["ind"],
            "country": raw["country"],
            "coordinates": [raw["latitude"], raw["longitude"]],
            "timestamp": time(&raw["timestamp"]),
        }),
        _ => json!({
            "ind": raw["ind"],
            "user_name": format!("{} {}", raw["first_name"].as_str().unwrap(), raw["last_name"].as_str().unwrap()),
            "age": raw["age"],
            "date_joined": time(&raw["date_joined"]),
        }),
    };
    // Field by field: 6.0 and 6 are the same latitude, and a null field may be left out of a JSON line.
    let (expected, cleaned) = (expected.as_object().unwrap(), cleaned.as_object().unwrap());
    let order: Vec<_> = expected.keys().filter(|key| cleaned.contains_key(*key)).collect();
    assert_eq!(cleaned.keys().collect::<Vec<_>>(), order, "{table}: columns and their order");
    for (key, value) in expected {
        let found = cleaned.get(key).unwrap_or(&Value::Null);
        let numbers =
            |value: &Value| value.as_array().map(|all| all.iter().map(Value::as_f64).collect::<Vec<_>>());
        let same = if value.is_array() { numbers(found) == numbers(value) } else { found == value };
        assert!(same, "{table} {}, {key}: {found}, and not {value}", expected["ind"]);
    }
}
