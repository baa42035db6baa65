//! Where sources stand, durably: in Kafka's offsets topic, or in a file where there is no Kafka.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use connector_core::{Position, Result};
use serde_json::{Map, Value};

/// The stored positions of one connector.
#[async_trait]
pub trait Positions: Send + Sync {
    async fn load(&self) -> Result<Vec<Position>>;

    /// Returns when they are durable. All or some of them may be when it fails.
    async fn store(&self, positions: &[Position]) -> Result<()>;
}

/// A source partition as a key: maps are equal whatever the order of their keys, and Java writes its own.
pub fn key_of(partition: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = partition.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}

/// The last position of each source partition.
pub fn last<'a>(positions: impl IntoIterator<Item = &'a Position>) -> Vec<Position> {
    let mut places = HashMap::new();
    let mut all: Vec<Position> = Vec::new();
    for position in positions {
        match places.get(&key_of(&position.partition)) {
            Some(&at) => all[at] = position.clone(),
            None => {
                places.insert(key_of(&position.partition), all.len());
                all.push(position.clone());
            }
        }
    }
    all
}

/// Positions of all connectors in memory.
#[derive(Debug, Default)]
pub struct Table(HashMap<String, HashMap<String, Position>>);

impl Table {
    /// `None` forgets the source partition.
    pub fn put(
        &mut self,
        connector: &str,
        partition: Map<String, Value>,
        offset: Option<Map<String, Value>>,
    ) {
        let key = key_of(&partition);
        if !self.0.contains_key(connector) {
            self.0.insert(connector.to_owned(), HashMap::new());
        }
        let Some(of) = self.0.get_mut(connector) else { return };
        match offset {
            Some(offset) => drop(of.insert(key, Position { partition, offset })),
            None => drop(of.remove(&key)),
        }
    }

    pub fn of(&self, connector: &str) -> Vec<Position> {
        self.0.get(connector).map(|of| of.values().cloned().collect()).unwrap_or_default()
    }

    /// Connector and position of every source partition.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.0.iter().flat_map(|(connector, of)| of.values().map(|position| (connector.as_str(), position)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(partition: &str, offset: i64) -> Position {
        let partition = serde_json::from_str(partition).unwrap();
        Position { partition, offset: Map::from_iter([("n".to_owned(), offset.into())]) }
    }

    #[test]
    fn the_last_position_of_a_partition_counts_whatever_the_order_of_its_keys() {
        let all =
            [position(r#"{"a":1,"b":2}"#, 1), position(r#"{"a":2}"#, 5), position(r#"{"b":2,"a":1}"#, 3)];
        let last = last(&all);
        assert_eq!(last.iter().map(|p| p.offset["n"].clone()).collect::<Vec<_>>(), [3, 5]);
    }
}
