//! That no job can be stuck: from every state that can be reached, things can go on, without any
//! further fault, until the job is over.
//!
//! `stateright` has no such property ("always: possibly"), so the graph is built here: forward over
//! all actions, then backward from the states at rest over those that are no faults. Nothing is
//! assumed about fairness: a state that fails this is a trap, whatever the order of events.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use crate::{action::Action, rules::Rules, state::World};

/// What was explored.
#[derive(Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps from the first state to the farthest.
    pub depth: usize,
    /// The shortest way into a trap, and what the world is like there.
    pub trap: Option<(Vec<Action>, World)>,
}

struct Node {
    from: u32,
    action: Action,
    depth: u16,
}

/// Explores everything that can happen by `rules`.
pub fn explore(rules: &Rules) -> Explored {
    let hash = BuildHasherDefault::<DefaultHasher>::default();
    let first = World::new(rules);
    let mut known = HashMap::from([(hash.hash_one(&first), 0_u32)]);
    let mut nodes = vec![Node {
        from: 0,
        action: Action::Tick,
        depth: 0,
    }];
    // Edges that are no faults, backward: (to, from).
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut rest: Vec<u32> = Vec::new();
    let mut open = VecDeque::from([(0_u32, first)]);
    while let Some((at, world)) = open.pop_front() {
        if world.is_at_rest() {
            rest.push(at);
        }
        let depth = nodes[at as usize].depth + 1;
        for action in rules.can_happen(&world) {
            let next = rules.after(&world, action);
            let count = u32::try_from(nodes.len()).expect("fewer states than that");
            let to = *known.entry(hash.hash_one(&next)).or_insert(count);
            if to == count {
                nodes.push(Node {
                    from: at,
                    action,
                    depth,
                });
                open.push_back((to, next));
            }
            if !action.is_fault() {
                edges.push((to, at));
            }
        }
    }
    let trap = first_trap(nodes.len(), edges, rest);
    Explored {
        states: nodes.len(),
        depth: nodes.last().map_or(0, |node| node.depth.into()),
        trap: trap.map(|at| way(rules, &nodes, at)),
    }
}

/// The first state from which no state at rest can be reached.
fn first_trap(count: usize, mut edges: Vec<(u32, u32)>, mut open: Vec<u32>) -> Option<usize> {
    edges.sort_unstable();
    let mut good = vec![false; count];
    for at in &open {
        good[*at as usize] = true;
    }
    while let Some(to) = open.pop() {
        let first = edges.partition_point(|edge| edge.0 < to);
        for (_, from) in edges[first..].iter().take_while(|edge| edge.0 == to) {
            if !std::mem::replace(&mut good[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    good.iter().position(|good| !good)
}

fn way(rules: &Rules, nodes: &[Node], mut at: usize) -> (Vec<Action>, World) {
    let mut actions = Vec::new();
    while at != 0 {
        actions.push(nodes[at].action);
        at = nodes[at].from as usize;
    }
    actions.reverse();
    let first = World::new(rules);
    let world = actions
        .iter()
        .fold(first, |world, action| rules.after(&world, *action));
    (actions, world)
}
