//! The operations that the router knows, read from its text: what it lists is what there is.

use std::collections::BTreeSet;

use syn::{Arm, Expr, Item, Lit, Pat, Stmt};

const ROUTER: &str = include_str!("../http/routes.rs");

/// `METHOD /path` of each route, every parameter by its name in the router. A route of whatever follows ends in `/*`,
/// and one for all methods has the method `*`.
pub fn operations() -> BTreeSet<String> {
    let file = syn::parse_file(ROUTER).expect("the router compiles");
    let route = file.items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == "route" => Some(&function.block.stmts),
        _ => None,
    });
    let list = route.expect("fn route").iter().find_map(|statement| match statement {
        Stmt::Expr(Expr::Match(list), _) => Some(&list.arms),
        _ => None,
    });
    list.expect("its list").iter().flat_map(of_arm).collect()
}

/// What is between the runner and the agent; no caller gets there.
const RESERVED: &str = "RESERVED_PATH";

/// None of the last arm, which answers what no other one does.
fn of_arm(arm: &Arm) -> Vec<String> {
    let Pat::Slice(slice) = &arm.pat else { return Vec::new() };
    if matches!(slice.elems.first(), Some(Pat::Ident(first)) if first.ident == RESERVED) {
        return Vec::new();
    }
    let method = match arm.guard.as_ref().map(|(_, guard)| &**guard) {
        Some(Expr::Path(flag)) => flag.path.get_ident().expect("the flag of a method").to_string().to_uppercase(),
        Some(_) => panic!("a guard that is no method"),
        None => "*".to_owned(),
    };
    let mut paths = vec![String::new()];
    for part in &slice.elems {
        let alternatives = segments(part);
        paths = paths.iter().flat_map(|path| alternatives.iter().map(move |next| format!("{path}/{next}"))).collect();
    }
    paths.into_iter().map(|path| format!("{method} {path}")).collect()
}

fn segments(part: &Pat) -> Vec<String> {
    match part {
        Pat::Lit(literal) => match &literal.lit {
            Lit::Str(text) => vec![text.value()],
            _ => panic!("a segment that is no text"),
        },
        Pat::Or(or) => or.cases.iter().flat_map(segments).collect(),
        Pat::Ident(rest) if rest.subpat.is_some() => vec!["*".to_owned()],
        Pat::Ident(parameter) => vec![format!("{{{}}}", parameter.ident)],
        _ => panic!("a segment of a kind that is not known here"),
    }
}
