//! The graph of vertices. Acyclic by construction: a vertex can only be added on top of existing ones.

use std::collections::HashMap;

use petgraph::Direction;
use petgraph::graph::DiGraph;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef as _;
use petgraph::visit::IntoNodeReferences as _;

use serde::Deserialize;
use serde::Serialize;

use crate::explain::VariableSource;
use crate::op::Op;
use crate::op::Source;

/// Names a vertex within one build. It means nothing outside that build: a [`bld_cache::key::CacheKey`] crosses builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(NodeIndex);

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// What it does.
    pub op: Op,
    /// How it is shown: `[build 2/4] RUN make`.
    pub name: String,
    /// The instruction's place in the Dockerfile, as byte offsets; `None` for what no line asked for.
    pub span: Option<bld_parser::source::Span>,
    /// The stage it belongs to, for `--no-cache-filter` and reports: its name, or its number.
    pub stage: String,
    /// Its place in the stage: the 2 of `[build 2/4]`.
    pub step: Option<u32>,
    /// The platform it is for; empty if it is for any.
    pub platform: String,
    /// Never take its result from the cache.
    pub no_cache: bool,
    /// Never make its result: it must be known.
    pub cached_only: bool,
    /// Its layer is part of the image asked for: worth compressing while later steps run.
    pub exported: bool,
    /// The variables that the instruction names, and the ARGs that its command sees. Only to explain a miss.
    pub variables: Vec<Variable>,
    /// What image it is. Only to explain a miss.
    pub image: Option<ImageName>,
}

/// A variable and its value, as an instruction sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// What set it.
    pub source: VariableSource,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A base image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// Its name.
    pub name: String,
    /// Digest of its manifest, if it has one.
    pub digest: Option<String>,
}

impl Vertex {
    /// A vertex that belongs to no stage.
    pub fn new(op: Op, name: String) -> Vertex {
        Vertex {
            op,
            name,
            span: None,
            stage: String::new(),
            step: None,
            platform: String::new(),
            no_cache: false,
            cached_only: false,
            exported: false,
            variables: Vec::new(),
            image: None,
        }
    }
}

/// Vertices and what they need.
#[derive(Debug, Default)]
pub struct Graph {
    inner: DiGraph<Vertex, usize>,
}

impl VertexId {
    /// Its number in order of addition, from 0.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Adds a vertex on top of existing ones; the order of `inputs` is the one [`crate::op::InputIndex`] counts in.
    ///
    /// # Panics
    ///
    /// If an input belongs to another, larger graph.
    pub fn add(&mut self, vertex: Vertex, inputs: impl IntoIterator<Item = VertexId>) -> VertexId {
        let node = self.inner.add_node(vertex);
        for (position, input) in inputs.into_iter().enumerate() {
            self.inner.add_edge(input.0, node, position);
        }
        VertexId(node)
    }

    /// What a vertex needs, in order.
    pub fn inputs(&self, id: VertexId) -> Vec<VertexId> {
        let mut inputs: Vec<(usize, VertexId)> = self
            .inner
            .edges_directed(id.0, Direction::Incoming)
            .map(|edge| (*edge.weight(), VertexId(edge.source())))
            .collect();
        inputs.sort_unstable();
        inputs.into_iter().map(|(_, input)| input).collect()
    }

    /// A vertex.
    ///
    /// # Panics
    ///
    /// If the id belongs to another, larger graph.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.inner[id.0]
    }

    /// Every vertex in order of addition: inputs come before what needs them.
    pub fn ids(&self) -> impl Iterator<Item = VertexId> + use<> {
        self.inner.node_indices().map(VertexId)
    }

    /// Every vertex with its id, in order of addition.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        self.inner.node_references().map(|(node, vertex)| (VertexId(node), vertex))
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `targets` and everything they need, in order of addition.
    pub fn reachable(&self, targets: &[VertexId]) -> Vec<VertexId> {
        let mut wanted = vec![false; self.len()];
        for target in targets {
            wanted[target.index()] = true;
        }
        // Inputs are older than what needs them: one pass from the youngest marks everything.
        for id in self.inner.node_indices().rev() {
            if wanted[id.index()] {
                for input in self.inner.neighbors_directed(id, Direction::Incoming) {
                    wanted[input.index()] = true;
                }
            }
        }
        self.ids().filter(|id| wanted[id.index()]).collect()
    }

    /// Adds all vertices of another graph. What does the same with the same inputs as one that is here stays the one that is here. Answers
    /// where each vertex of the other graph is now.
    pub(crate) fn append(&mut self, other: &Graph) -> impl Fn(VertexId) -> VertexId + use<> {
        let mut places: Vec<VertexId> = Vec::with_capacity(other.len());
        let place_of = |places: &[VertexId], id: VertexId| places.get(id.index()).copied().unwrap_or(id);
        let mut known: HashMap<Vec<VertexId>, Vec<VertexId>> = HashMap::new();
        for id in self.ids() {
            known.entry(self.inputs(id)).or_default().push(id);
        }
        for id in other.ids() {
            let inputs: Vec<VertexId> = other.inputs(id).into_iter().map(|input| place_of(&places, input)).collect();
            let vertex = other.vertex(id);
            let same = known.entry(inputs.clone()).or_default();
            let twin = same.iter().copied().find(|twin| {
                let twin = self.vertex(*twin);
                twin.op == vertex.op && twin.no_cache == vertex.no_cache
            });
            let place = twin.unwrap_or_else(|| self.add(vertex.clone(), inputs));
            if twin.is_none() {
                same.push(place);
            }
            if vertex.exported {
                self.mark_exported(place);
            }
            places.push(place);
        }
        move |id| place_of(&places, id)
    }

    /// Puts `text` into the brackets that names of steps begin with: `[linux/arm64 build 2/4] RUN make`.
    pub(crate) fn prefix_names(&mut self, text: &str) {
        for vertex in self.inner.node_weights_mut() {
            if let Some(rest) = vertex.name.strip_prefix('[') {
                vertex.name = format!("[{text} {rest}");
            }
        }
    }

    /// Forbids to make what the steps of a stage make, or of all stages; whether there is such a stage.
    pub fn require_cached(&mut self, stage: Option<&str>) -> bool {
        let mut found = stage.is_none();
        for vertex in self.inner.node_weights_mut() {
            let number = stage.and_then(|stage| stage.strip_prefix("stage-"));
            let is_named = |stage: &str| vertex.stage.eq_ignore_ascii_case(stage) || number == Some(&vertex.stage);
            let is_meant = stage.is_none_or(is_named);
            found |= is_meant;
            // FROM only says where to begin.
            vertex.cached_only |= is_meant && !matches!(vertex.op, Op::Source(Source::Image { .. }));
        }
        found
    }

    /// Marks a vertex as one whose layer is part of the image asked for.
    pub(crate) fn mark_exported(&mut self, id: VertexId) {
        self.inner[id.0].exported = true;
    }
}
