"""The eight queries of examples/queries.sql on three Delta tables, against answers worked out from the rows that went in.

    queries.py ROWS.json PIN_TABLE GEO_TABLE USER_TABLE

ROWS.json: {"pin": [...], "geo": [...], "user": [...]}, the rows as the database has them, each once. Nothing here shares
code with the cleaners: the answers come from the rows by plain Python. Prints the number of answers of each query as JSON.
"""
import collections, datetime, json, re, sys
from pathlib import Path

import duckdb
from deltalake import DeltaTable

SQL = Path(__file__).resolve().parents[2] / "examples" / "queries.sql"
UNKNOWN = "User Info Error"


def followers(text):
    if text == UNKNOWN:
        return None
    return int(text.rstrip("kM")) * {"k": 1_000, "M": 1_000_000}.get(text[-1], 1)


def year(text):
    return datetime.datetime.fromisoformat(text).year


def age_group(age):
    for low, high, name in [(18, 24, "18-24"), (25, 35, "25-35"), (36, 50, "36-50"), (51, 999, "50+")]:
        if low <= age <= high:
            return name


def median(numbers):
    numbers = sorted(n for n in numbers if n is not None)
    return numbers[(len(numbers) + 1) // 2 - 1] if numbers else None


def groups(pairs):
    found = collections.defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def most(pairs, ties=True):
    """(group, winner, count) of the values that are most frequent in each group."""
    answer = set()
    for key, values in groups(pairs).items():
        counts = collections.Counter(values)
        top = max(counts.values())
        winners = sorted(value for value, count in counts.items() if count == top)
        answer |= {(key, winner, top) for winner in (winners if ties else winners[:1])}
    return answer


def expected(rows):
    pins = {row["index"]: row for row in rows["pin"]}
    geos = {row["ind"]: row for row in rows["geo"]}
    users = {row["ind"]: row for row in rows["user"]}
    pin_geo = [(pins[key], geos[key]) for key in pins.keys() & geos.keys()]
    pin_user = [(pins[key], users[key]) for key in pins.keys() & users.keys()]

    yield most((geo["country"], pin["category"]) for pin, geo in pin_geo)
    posts = [(year(geo["timestamp"]), pin["category"]) for pin, geo in pin_geo]
    yield most([(when, category) for when, category in posts if 2018 <= when <= 2022], ties=False)
    top = set()
    known = [(geo["country"], (followers(p["follower_count"]), p["poster_name"])) for p, geo in pin_geo]
    for country, people in groups((c, f) for c, f in known if f[0] is not None).items():
        best = max(count for count, _ in people)
        top |= {(country, name, best) for count, name in people if count == best}
    yield top
    yield most((age_group(user["age"]), pin["category"]) for pin, user in pin_user)

    def medians(key, keep=lambda user: True):
        pairs = ((key(user), followers(pin["follower_count"])) for pin, user in pin_user if keep(user))
        return {(*name, median(counts)) for name, counts in groups(pairs).items()}

    joined = lambda user: year(user["date_joined"])
    in_range = lambda user: 2015 <= joined(user) <= 2020
    yield medians(lambda user: (age_group(user["age"]),))
    yield set(collections.Counter(joined(user) for user in users.values() if in_range(user)).items())
    yield medians(lambda user: (joined(user),))
    yield medians(lambda user: (age_group(user["age"]), joined(user)), in_range)


def main(rows, *tables):
    rows = json.loads(Path(rows).read_text())
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    for name, address in zip(["pin", "geo", "user"], tables, strict=True):
        table = DeltaTable(address).to_pyarrow_table()
        keys = table.column("ind").to_pylist()
        assert sorted(keys) == sorted({row["index" if name == "pin" else "ind"] for row in rows[name]}), f"keys of {name}"
        database.register(name, table)
    queries = [part for part in re.split(r"^-- \d\. .*$", SQL.read_text(), flags=re.M)[1:]]
    assert len(queries) == 8
    counts = []
    for number, (query, answer) in enumerate(zip(queries, expected(rows), strict=True), 1):
        found = database.execute(query).fetchall()
        assert len(found) == len(set(found)) and set(found) == answer, (
            f"query {number}: {len(found)} answers, {len(answer)} expected; "
            f"{len(set(found) - answer)} of them unexpected")
        counts.append(len(found))
    print(json.dumps(counts))


main(*sys.argv[1:])
