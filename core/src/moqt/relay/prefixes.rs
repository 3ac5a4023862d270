//! A trie over namespace fields: who announced, or asked about, which prefix.
//!
//! A look-up walks the fields of one name and never scans the other names: an announcement costs
//! its own depth, however many namespaces there are.
//!
//! Source: draft-ietf-moq-transport-18 section 8.5 (namespace prefix matching).

use crate::map::{BTreeMap, BTreeSet};
use bytes::Bytes;

/// A set of values at each namespace prefix.
#[derive(Debug)]
pub(super) struct Prefixes<V> {
    root: Node<V>,
}

#[derive(Debug)]
struct Node<V> {
    values: BTreeSet<V>,
    children: BTreeMap<Bytes, Node<V>>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            values: BTreeSet::new(),
            children: BTreeMap::new(),
        }
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.children.is_empty()
    }
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<V: Ord + Clone> Prefixes<V> {
    /// Puts `value` at `prefix`; `false` when it stands there already.
    pub(super) fn insert(&mut self, prefix: &[Bytes], value: V) -> bool {
        let mut node = &mut self.root;
        for field in prefix {
            node = node.children.entry(field.clone()).or_default();
        }
        node.values.insert(value)
    }

    /// Takes `value` away from `prefix`; `false` when it was not there.
    pub(super) fn remove(&mut self, prefix: &[Bytes], value: &V) -> bool {
        remove_from(&mut self.root, prefix, value)
    }

    /// Whether any value stands exactly at `prefix`.
    pub(super) fn is_present(&self, prefix: &[Bytes]) -> bool {
        self.node(prefix)
            .is_some_and(|node| !node.values.is_empty())
    }

    /// The values at `name` and at every prefix of it, shortest prefix first.
    pub(super) fn covering(&self, name: &[Bytes]) -> Vec<V> {
        let mut found = Vec::new();
        let mut node = &self.root;
        found.extend(node.values.iter().cloned());
        for field in name {
            match node.children.get(field) {
                Some(child) => node = child,
                None => return found,
            }
            found.extend(node.values.iter().cloned());
        }
        found
    }

    /// Names at or below `prefix` that hold a value, in order, each once; at most `limit`.
    /// `None` when there are more.
    pub(super) fn names_below(&self, prefix: &[Bytes], limit: usize) -> Option<Vec<Vec<Bytes>>> {
        let mut found = Vec::new();
        if let Some(node) = self.node(prefix) {
            let mut path = prefix.to_vec();
            if !collect(node, &mut path, limit, &mut found) {
                return None;
            }
        }
        Some(found)
    }

    fn node(&self, prefix: &[Bytes]) -> Option<&Node<V>> {
        prefix
            .iter()
            .try_fold(&self.root, |node, field| node.children.get(field))
    }
}

fn remove_from<V: Ord>(node: &mut Node<V>, prefix: &[Bytes], value: &V) -> bool {
    let Some((field, rest)) = prefix.split_first() else {
        return node.values.remove(value);
    };
    let Some(child) = node.children.get_mut(field) else {
        return false;
    };
    let removed = remove_from(child, rest, value);
    if child.is_empty() {
        node.children.remove(field);
    }
    removed
}

/// Depth is bounded by the 32 fields of a namespace.
fn collect<V>(
    node: &Node<V>,
    path: &mut Vec<Bytes>,
    limit: usize,
    found: &mut Vec<Vec<Bytes>>,
) -> bool {
    if !node.values.is_empty() {
        if found.len() == limit {
            return false;
        }
        found.push(path.clone());
    }
    for (field, child) in &node.children {
        path.push(field.clone());
        let fits = collect(child, path, limit, found);
        path.pop();
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(path: &str) -> Vec<Bytes> {
        path.split('/')
            .filter(|f| !f.is_empty())
            .map(|f| Bytes::copy_from_slice(f.as_bytes()))
            .collect()
    }

    #[test]
    fn covering_matches_whole_fields_only() {
        let mut prefixes = Prefixes::default();
        assert!(prefixes.insert(&fields("foo"), 1));
        assert!(prefixes.insert(&fields("foo/bar"), 2));
        assert!(prefixes.insert(&fields("foobar"), 3));
        assert!(!prefixes.insert(&fields("foo"), 1));
        assert_eq!(prefixes.covering(&fields("foo/bar")), [1, 2]);
        assert_eq!(prefixes.covering(&fields("foo/baz/x")), [1]);
        assert_eq!(prefixes.covering(&fields("other")), Vec::<i32>::new());
    }

    #[test]
    fn names_below_are_listed_once_and_bounded() {
        let mut prefixes = Prefixes::default();
        for (path, value) in [("a/b", 1), ("a/b", 2), ("a/c/d", 3), ("b", 4)] {
            prefixes.insert(&fields(path), value);
        }
        assert_eq!(
            prefixes.names_below(&fields("a"), 10),
            Some(vec![fields("a/b"), fields("a/c/d")])
        );
        assert_eq!(prefixes.names_below(&fields("a"), 1), None);
        assert_eq!(
            prefixes.names_below(&[], 10).map(|names| names.len()),
            Some(3)
        );
    }

    #[test]
    fn removal_leaves_no_empty_branches() {
        let mut prefixes = Prefixes::default();
        prefixes.insert(&fields("a/b/c"), 1);
        prefixes.insert(&fields("a"), 2);
        assert!(prefixes.remove(&fields("a/b/c"), &1));
        assert!(!prefixes.remove(&fields("a/b/c"), &1));
        assert!(prefixes.remove(&fields("a"), &2));
        assert!(prefixes.root.is_empty());
    }
}
