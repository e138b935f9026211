//! What PostgreSQL's parser sees in a text.

use pg_raw_parse::walk::walk;
use pg_raw_parse::{Node, nodes, parse};
use pgherd_route::builtin::is_harmless;
use pgherd_sql::name::Name;

/// A text that PostgreSQL accepts.
pub(crate) struct Seen {
    pub(crate) statements: usize,
    /// Why it is no read.
    pub(crate) objection: Option<String>,
}

/// None when the parser refuses the text.
pub(crate) fn look(text: &str) -> Option<Seen> {
    let tree = parse(text).ok()?;
    let mut seen = Seen { statements: 0, objection: None };
    for statement in tree.stmts() {
        seen.statements += 1;
        let objection = object(statement);
        seen.objection = seen.objection.take().or(objection);
    }
    Some(seen)
}

fn object(statement: Node<'_>) -> Option<String> {
    match statement {
        Node::RawStmt(raw) => object(raw.stmt()),
        Node::SelectStmt(_) => object_to_parts(statement),
        Node::CopyStmt(copy) => object_to_copy(copy),
        Node::ExplainStmt(explain) => object_to_explained(explain),
        other => Some(name_of(other)),
    }
}

fn object_to_copy(copy: &nodes::CopyStmt) -> Option<String> {
    if copy.is_from || copy.is_program || copy.filename().is_some() {
        return Some("copies from or to the node".to_string());
    }
    match copy.query() {
        Node::SelectStmt(select) => object_to_parts(Node::SelectStmt(select)),
        _ if copy.relation().is_some() => None,
        other => Some(name_of(other)),
    }
}

/// Without ANALYZE a volatile function is not called, but the classifier may hold it back all the same.
fn object_to_explained(explain: &nodes::ExplainStmt) -> Option<String> {
    match explain.query() {
        Node::SelectStmt(select) => object_to_parts(Node::SelectStmt(select)),
        other => Some(name_of(other)),
    }
}

fn object_to_parts(select: Node<'_>) -> Option<String> {
    let mut objection = None;
    walk(select, |node| {
        let found = match node {
            Node::SelectStmt(select) if select.into_clause().is_some() => Some("INTO".to_string()),
            Node::InsertStmt(_)
            | Node::UpdateStmt(_)
            | Node::DeleteStmt(_)
            | Node::MergeStmt(_)
            | Node::LockingClause(_) => Some(name_of(node)),
            Node::FuncCall(call) => unknown(call),
            _ => None,
        };
        objection = objection.take().or(found);
    });
    objection
}

/// The name of a function that nobody vouches for.
fn unknown(call: &nodes::FuncCall) -> Option<String> {
    let last = call.funcname().iter().next_back();
    let Some(Node::String(name)) = last else { return Some("a call without a name".to_string()) };
    let name = name.sval().unwrap_or_default();
    // Judged by their arguments.
    if ["current_setting", "set_config", "setseed"].contains(&name) {
        return None;
    }
    let found = Name::decoded(name.as_bytes()).is_some_and(|name| is_harmless(name, name.fold()));
    (!found).then(|| format!("calls {name}"))
}

fn name_of(node: Node<'_>) -> String {
    let name = match node {
        Node::InsertStmt(_) => "INSERT",
        Node::UpdateStmt(_) => "UPDATE",
        Node::DeleteStmt(_) => "DELETE",
        Node::MergeStmt(_) => "MERGE",
        Node::LockingClause(_) => "a lock on rows",
        _ => "not a query",
    };
    name.to_string()
}
