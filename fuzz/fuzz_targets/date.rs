//! A plain reading of HTTP's dates (RFC 9110 §5.6.7) in their three forms.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of a date, whatever day of the week it says.
pub fn seconds(date: &str) -> Option<i64> {
    let words: Vec<_> = date.trim().split([' ', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words.as_slice() {
        [_, day, month, year, time, "GMT"] => (*day, *month, *year, *time),
        // The library does not look at what stands between a year of two digits and the time.
        [_, day, month, both, "GMT"] => (*day, *month, both.get(..2)?, both.get(3..)?),
        [_, month, day, time, year] => (*day, *month, *year, *time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = match (year.len(), number(year)?) {
        (2, short @ ..70) => 2_000 + short,
        (2, short) => 1_900 + short,
        (_, year) => year,
    };
    let time: Vec<i64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = time.as_slice() else { return None };
    let days = days_before(year) + days_of_months(year, month) + number(day)? - 1;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

fn number(digits: &str) -> Option<i64> {
    digits.parse::<u16>().ok().map(i64::from)
}

/// Days from 1970 to the first of this year.
fn days_before(year: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

/// Days of a year before its month of this number, from nought on.
fn days_of_months(year: i64, month: usize) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().take(month).sum::<i64>();
    days + i64::from(is_leap && month > 1)
}
