//! Numbers as Java writes and reads them.

/// `Double.toString`: `100.0`, `1.0E7`, `NaN`.
pub fn double_text(number: f64) -> String {
    java(number, &format!("{number:e}"))
}

/// `Float.toString`.
pub fn float_text(number: f32) -> String {
    java(number.into(), &format!("{number:e}"))
}

/// From the shortest digits in scientific form (`-1.25e-7`).
fn java(number: f64, scientific: &str) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}Infinity");
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if number == 0.0 {
        return format!("{sign}0.0");
    }
    // Java writes 10^-3 up to 10^7 without an exponent.
    match exponent {
        0..=6 => {
            let point = exponent as usize + 1;
            let digits = format!("{digits:0<width$}", width = point + 1);
            let (whole, fraction) = digits.split_at(point);
            format!("{sign}{whole}.{fraction}")
        }
        -3..=-1 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        _ => {
            let (first, rest) = digits.split_at(1);
            format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest })
        }
    }
}

/// `Double.parseDouble`: blanks around it, a type suffix, hexadecimal digits with a binary exponent, `NaN` and
/// `Infinity` as Java spells them.
pub fn parse_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c| c <= ' ');
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let number = match magnitude {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => {
            let plain = magnitude
                .strip_suffix(['f', 'F', 'd', 'D'])
                .filter(|_| !is_hex(magnitude) || magnitude.contains(['p', 'P']));
            let plain = plain.unwrap_or(magnitude);
            if is_hex(plain) {
                hexadecimal(&plain[2..])?
            } else if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                plain.parse().ok()?
            } else {
                return None;
            }
        }
    };
    Some(if negative { -number } else { number })
}

fn is_hex(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut number = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let exponent: i32 = exponent.parse().ok()?;
    Some(number * 2f64.powi(exponent - 4 * i32::try_from(fraction.len()).ok()?))
}

/// `new BigDecimal(text)`: the digits, and how many of them are behind the point. `None` also beyond 38 digits.
pub fn parse_decimal(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, magnitude) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i128 = digits.parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some((if negative { -number } else { number }, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_have_javas_texts_t_03() {
        for (number, text) in [
            (1e7, "1.0E7"),
            (1e-5, "1.0E-5"),
            (100.0, "100.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (9_999_999.0, "9999999.0"),
            (123.456, "123.456"),
            (1.25e-7, "1.25E-7"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double_text(number), text);
        }
        assert_eq!(float_text(1e10), "1.0E10");
        assert_eq!(float_text(1.1), "1.1");
    }

    #[test]
    fn doubles_are_read_as_java_reads_them_t_03() {
        for (text, number) in [
            ("1.5f", 1.5),
            ("0x1p3", 8.0),
            (" 2 ", 2.0),
            ("+1e3", 1000.0),
            (".5", 0.5),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_double(text), Some(number), "{text}");
        }
        assert!(parse_double("NaN").is_some_and(f64::is_nan));
        for text in ["", "nan", "inf", "1,5", "0x", "x", "1.5ff", "--1"] {
            assert_eq!(parse_double(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_read_with_their_scale() {
        assert_eq!(parse_decimal("-12.340"), Some((-12340, 3)));
        assert_eq!(parse_decimal("1E+2"), Some((1, -2)));
        for text in ["", " 1", "abc", "1.2.3", "."] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }
}
