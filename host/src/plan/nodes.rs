//! Which node of a builder builds a platform: the rule of buildx, in its two passes.
//!
//! The first pass looks only at the platforms that the builder was given, so that nothing has to run to be asked. Only
//! if that leaves a platform without a home, the second looks at what the daemons themselves list.

use crate::platform::Platform;

/// What is known of the platforms of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePlatforms {
    /// Name of the node.
    pub name: String,
    /// Platforms that the builder's record gives to this node.
    pub stored: Vec<Platform>,
    /// Platforms that the node's workers list, native ones first; empty until they were asked.
    pub workers: Vec<Platform>,
}

/// Why a platform goes to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No platform was asked for, and this is the first node.
    FirstNode,
    /// The builder's record gives exactly this platform to the node.
    Stored,
    /// The node lists a platform that runs it.
    Runs(Platform),
    /// Nobody lists it: the first node gets it, as its Dockerfile may cross-compile.
    Nobody,
}

/// One platform's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The wanted platform; absent when none was asked for.
    pub platform: Option<Platform>,
    /// Position of the node.
    pub node: usize,
    /// Why this one.
    pub reason: Reason,
    /// Nodes that could have built it as well, by position.
    pub passed_over: Vec<usize>,
}

/// What one node builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Position of the node.
    pub node: usize,
    /// Its platforms in the order they were asked for; empty when none was.
    pub platforms: Vec<Platform>,
}

/// Homes of all platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One entry per wanted platform, or a single one when none was asked for.
    pub choices: Vec<Choice>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The builder has no node that can be used.
    #[error("no drivers found")]
    NoNodes,
    /// The wanted platforms live on different nodes.
    #[error("Platforms {list} need more than one node: {homes}")]
    SeveralNodes {
        /// The wanted platforms.
        list: String,
        /// Who would build what.
        homes: String,
    },
}

impl PlacementError {
    /// The way out.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoNodes => "`bkhost inspect` shows what is wrong with the builder's nodes",
            Self::SeveralNodes { .. } => {
                "One build goes to one node: build the platforms one by one, or choose a builder with a node that lists them all"
            }
        }
    }
}

impl Plan {
    /// Whether every platform found a node that lists it.
    pub fn complete(&self) -> bool {
        self.choices.iter().all(|choice| choice.reason != Reason::Nobody)
    }

    /// The platforms that no node lists.
    pub fn homeless(&self) -> impl Iterator<Item = &Platform> {
        self.choices
            .iter()
            .filter(|choice| choice.reason == Reason::Nobody)
            .filter_map(|choice| choice.platform.as_ref())
    }

    /// What each node builds, nodes in the order of their first platform.
    pub fn assignments(&self) -> Vec<Assignment> {
        let mut list: Vec<Assignment> = Vec::new();
        for choice in &self.choices {
            let platforms = choice.platform.iter().cloned();
            match list.iter_mut().find(|assignment| assignment.node == choice.node) {
                Some(assignment) => assignment.platforms.extend(platforms),
                None => list.push(Assignment {
                    node: choice.node,
                    platforms: platforms.collect(),
                }),
            }
        }
        list
    }

    /// The only node of this plan.
    ///
    /// # Errors
    ///
    /// [`PlacementError::SeveralNodes`] when the platforms have different homes.
    pub fn single(&self, nodes: &[NodePlatforms]) -> Result<Assignment, PlacementError> {
        match self.assignments().as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(PlacementError::NoNodes),
            _ => Err(self.several(nodes)),
        }
    }

    /// Fails when the homes that are certain lie on different nodes.
    ///
    /// # Errors
    ///
    /// As [`Plan::single`], without counting platforms that nobody lists: a later look may find them a home.
    pub fn check_settled(&self, nodes: &[NodePlatforms]) -> Result<(), PlacementError> {
        let settled = Self {
            choices: self
                .choices
                .iter()
                .filter(|choice| choice.reason != Reason::Nobody)
                .cloned()
                .collect(),
        };
        if settled.assignments().len() > 1 {
            return Err(settled.several(nodes));
        }
        Ok(())
    }

    fn several(&self, nodes: &[NodePlatforms]) -> PlacementError {
        let name = |node: usize| nodes.get(node).map_or("?", |node| node.name.as_str());
        let homes = self.assignments().into_iter().map(|assignment| {
            let platforms: Vec<String> = assignment.platforms.iter().map(Platform::to_string).collect();
            format!("`{}` builds {}", name(assignment.node), platforms.join(", "))
        });
        let list: Vec<String> = self
            .choices
            .iter()
            .filter_map(|choice| choice.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        PlacementError::SeveralNodes {
            list: list.join(", "),
            homes: homes.collect::<Vec<_>>().join("; "),
        }
    }
}

/// First pass: homes by the platforms of the builder's record alone. Only a [complete](Plan::complete) plan may be
/// followed; otherwise the workers have to be asked.
pub fn place_on_stored(wanted: &[Platform], nodes: &[NodePlatforms]) -> Result<Plan, PlacementError> {
    plan(wanted, nodes, stored_home)
}

/// Second pass: homes by record and workers. What the record says exactly still wins.
pub fn place(wanted: &[Platform], nodes: &[NodePlatforms]) -> Result<Plan, PlacementError> {
    plan(wanted, nodes, |platform, nodes| {
        stored_home(platform, nodes).or_else(|| runner(platform, nodes))
    })
}

/// A home, why, and who else would have done.
type Home = (usize, Reason, Vec<usize>);

fn plan(
    wanted: &[Platform],
    nodes: &[NodePlatforms],
    home: impl Fn(&Platform, &[NodePlatforms]) -> Option<Home>,
) -> Result<Plan, PlacementError> {
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    if wanted.is_empty() {
        let choice = Choice {
            platform: None,
            node: 0,
            reason: Reason::FirstNode,
            passed_over: (1..nodes.len()).collect(),
        };
        return Ok(Plan {
            choices: vec![choice],
        });
    }
    let choices = wanted.iter().map(|platform| {
        let (node, reason, passed_over) =
            home(platform, nodes).unwrap_or_else(|| (0, Reason::Nobody, Vec::new()));
        Choice {
            platform: Some(platform.clone()),
            node,
            reason,
            passed_over,
        }
    });
    Ok(Plan {
        choices: choices.collect(),
    })
}

fn stored_home(platform: &Platform, nodes: &[NodePlatforms]) -> Option<Home> {
    let mut able = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.stored.iter().any(|stored| stored.same(platform)))
        .map(|(index, _)| index);
    let first = able.next()?;
    Some((first, Reason::Stored, able.collect()))
}

/// The node with the closest platform; the first one found wins ties.
fn runner(platform: &Platform, nodes: &[NodePlatforms]) -> Option<Home> {
    let mut best: Option<(usize, &Platform)> = None;
    let mut able = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for candidate in node.stored.iter().chain(&node.workers) {
            let Some(rank) = candidate.runs(platform) else {
                continue;
            };
            if able.last() != Some(&index) {
                able.push(index);
            }
            // A later candidate wins only if, seen from itself, the wanted platform comes before the best so far.
            let better =
                best.is_none_or(|(_, so_far)| candidate.runs(so_far).is_none_or(|other| rank < other));
            if better {
                best = Some((index, candidate));
            }
        }
    }
    let (node, candidate) = best?;
    able.retain(|index| *index != node);
    Some((node, Reason::Runs(candidate.clone()), able))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platforms(list: &str) -> Vec<Platform> {
        list.split_whitespace()
            .map(|item| item.parse().unwrap())
            .collect()
    }

    /// Nodes written as `stored | workers`.
    fn nodes(rows: &[&str]) -> Vec<NodePlatforms> {
        rows.iter()
            .enumerate()
            .map(|(index, row)| {
                let (stored, workers) = row.split_once('|').unwrap();
                NodePlatforms {
                    name: format!("n{index}"),
                    stored: platforms(stored),
                    workers: platforms(workers),
                }
            })
            .collect()
    }

    fn homes(plan: &Plan) -> Vec<usize> {
        plan.choices.iter().map(|choice| choice.node).collect()
    }

    #[test]
    fn without_a_wish_the_first_node_builds() {
        let nodes = nodes(&["linux/arm64 |", "linux/amd64 |"]);
        let plan = place_on_stored(&[], &nodes).unwrap();
        assert!(plan.complete());
        assert_eq!(plan.choices[0].reason, Reason::FirstNode);
        assert_eq!(plan.choices[0].passed_over, [1]);
        assert_eq!(plan.single(&nodes).unwrap().platforms, []);
    }

    #[test]
    fn no_node_is_an_error() {
        assert_eq!(place(&[], &[]).unwrap_err().to_string(), "no drivers found");
    }

    #[test]
    fn the_first_pass_is_strict() {
        for (wanted, rows, expected, complete) in [
            (
                "linux/amd64",
                &["linux/amd64 |", "linux/amd64 |"][..],
                &[0][..],
                true,
            ),
            ("linux/arm64", &["linux/amd64 |", "linux/arm64 |"], &[1], true),
            (
                "linux/aarch64",
                &["linux/amd64 |", "linux/arm64/v8 |"],
                &[1],
                true,
            ),
            (
                "linux/amd64 linux/arm64",
                &["linux/arm64 |", "linux/amd64 |"],
                &[1, 0],
                true,
            ),
            ("linux/arm/v6", &["linux/arm/v7 |"], &[0], false),
            ("linux/386", &["linux/arm64 |", "linux/amd64 |"], &[0], false),
            ("linux/amd64", &["| linux/amd64"], &[0], false),
            ("linux/riscv64", &["linux/amd64 |", "linux/arm64 |"], &[0], false),
        ] {
            let nodes = nodes(rows);
            let plan = place_on_stored(&platforms(wanted), &nodes).unwrap();
            assert_eq!(homes(&plan), expected, "{wanted} on {rows:?}");
            assert_eq!(plan.complete(), complete, "{wanted} on {rows:?}");
        }
    }

    #[test]
    fn the_second_pass_knows_workers_and_lower_levels() {
        for (wanted, rows, expected, complete) in [
            (
                "linux/amd64",
                &["| linux/arm64", "| linux/amd64 linux/386"][..],
                &[1][..],
                true,
            ),
            ("linux/386", &["linux/arm64 |", "linux/amd64 |"], &[1], true),
            ("linux/arm/v6", &["linux/arm/v7 |", "linux/arm/v6 |"], &[1], true),
            ("linux/arm/v6", &["| linux/arm/v7", "| linux/arm/v6"], &[1], true),
            ("linux/arm/v6", &["| linux/arm/v6", "| linux/arm/v7"], &[0], true),
            ("linux/arm/v5", &["| linux/arm/v7", "| linux/arm/v7"], &[0], true),
            (
                "linux/amd64/v2",
                &["| linux/amd64", "| linux/amd64/v3"],
                &[1],
                true,
            ),
            // An emulated platform counts like a native one: the first node that lists it.
            (
                "linux/arm64",
                &["| linux/amd64 linux/arm64", "| linux/arm64"],
                &[0],
                true,
            ),
            // What the record says exactly wins over what an earlier worker lists.
            (
                "linux/arm64",
                &["linux/amd64 | linux/amd64 linux/arm64", "linux/arm64 |"],
                &[1],
                true,
            ),
            ("linux/riscv64", &["| linux/amd64", "| linux/arm64"], &[0], false),
        ] {
            let nodes = nodes(rows);
            let plan = place(&platforms(wanted), &nodes).unwrap();
            assert_eq!(homes(&plan), expected, "{wanted} on {rows:?}");
            assert_eq!(plan.complete(), complete, "{wanted} on {rows:?}");
        }
    }

    #[test]
    fn reasons_and_nodes_passed_over_are_kept() {
        let nodes = nodes(&["| linux/amd64", "| linux/arm64", "| linux/arm64"]);
        let plan = place(&platforms("linux/arm/v7 linux/s390x"), &nodes).unwrap();
        assert_eq!(
            plan.choices[0].reason,
            Reason::Runs("linux/arm64".parse().unwrap())
        );
        assert_eq!(plan.choices[0].passed_over, [2]);
        assert_eq!(
            plan.homeless().map(Platform::to_string).collect::<Vec<_>>(),
            ["linux/s390x"]
        );
    }

    #[test]
    fn platforms_of_one_node_are_built_together() {
        let nodes = nodes(&["linux/amd64 linux/arm64 |"]);
        let plan = place_on_stored(&platforms("linux/arm64 linux/amd64"), &nodes).unwrap();
        let assignment = plan.single(&nodes).unwrap();
        assert_eq!(assignment.platforms, platforms("linux/arm64 linux/amd64"));
    }

    #[test]
    fn several_nodes_are_refused_by_name() {
        let nodes = nodes(&["linux/amd64 |", "linux/arm64 |"]);
        let plan = place_on_stored(&platforms("linux/amd64 linux/arm64"), &nodes).unwrap();
        let error = plan.check_settled(&nodes).unwrap_err();
        assert_eq!(error, plan.single(&nodes).unwrap_err());
        assert_eq!(
            error.to_string(),
            "Platforms linux/amd64, linux/arm64 need more than one node: `n0` builds linux/amd64; `n1` builds linux/arm64"
        );
    }

    #[test]
    fn a_homeless_platform_alone_settles_nothing() {
        let nodes = nodes(&["linux/amd64 |", "linux/arm64 |"]);
        let plan = place_on_stored(&platforms("linux/arm64 linux/riscv64"), &nodes).unwrap();
        assert!(plan.check_settled(&nodes).is_ok());
        assert!(plan.single(&nodes).is_err());
    }
}
