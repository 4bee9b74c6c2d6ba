//! What each operation takes and gives.

use serde_json::json;

use super::Operation;
use crate::http::error::Envelope;
use crate::lsp::{api as lsp, completions, symbols};
use crate::process::interpreter::api as interpreter;
use crate::process::ledger::Texts;
use crate::process::pty::api as pty;
use crate::process::session::api as session;
use crate::process::{code_run, environment, execute};
use crate::{files, git, system};

fn get(path: &'static str) -> Operation {
    Operation::new("GET", path)
}

fn post(path: &'static str) -> Operation {
    Operation::new("POST", path)
}

fn delete(path: &'static str) -> Operation {
    Operation::new("DELETE", path)
}

pub fn operations() -> Vec<Operation> {
    [processes(), files(), git(), language_servers(), others()].into_iter().flatten().collect()
}

fn processes() -> Vec<Operation> {
    vec![
        post("/process/execute").takes::<execute::Request>().gives::<execute::Answer>(200),
        post("/process/code-run").takes::<code_run::Request>().gives::<code_run::Answer>(200),
        post("/process/session").takes::<session::Create>().gives_nothing(201),
        get("/process/session").gives_list::<session::SessionView>(),
        get("/process/session/entrypoint/logs").knows(&["follow"]).gives::<Texts>(200).upgrades(),
        get("/process/session/{id}").gives::<session::SessionView>(200),
        delete("/process/session/{id}").gives_nothing(204),
        post("/process/session/{id}/exec")
            .takes::<session::Execute>()
            .gives::<session::Executed>(200)
            .gives::<session::Started>(202),
        get("/process/session/{id}/command/{command}").gives::<session::CommandView>(200),
        get("/process/session/{id}/command/{command}/logs").knows(&["follow"]).gives::<Texts>(200).upgrades(),
        post("/process/session/{id}/command/{command}/input").takes::<session::Input>().gives_nothing(204),
        post("/process/pty").takes::<pty::Create>().gives::<pty::Created<'_>>(201),
        get("/process/pty").gives::<pty::List>(200),
        get("/process/pty/create-connect").needs(&["id"]).knows(&["cols", "rows", "cwd"]).upgrades(),
        get("/process/pty/{id}").gives::<pty::View>(200),
        delete("/process/pty/{id}").gives::<pty::Message>(200),
        get("/process/pty/{id}/connect").upgrades(),
        post("/process/pty/{id}/resize").takes::<pty::Resize>().gives::<pty::View>(200),
        get("/process/interpreter/execute").upgrades(),
        post("/process/interpreter/context").takes::<interpreter::Create>().gives::<interpreter::View>(200),
        get("/process/interpreter/context").gives::<interpreter::List>(200),
        delete("/process/interpreter/context/{id}").gives::<interpreter::Message>(200),
    ]
}

fn files() -> Vec<Operation> {
    let file = || json!({ "file": { "type": "string", "format": "binary" } });
    vec![
        get("/files").knows(&["path", "depth"]).gives_list::<files::info::FileInfo>(),
        delete("/files").needs(&["path"]).knows(&["recursive"]).gives_nothing(204),
        get("/files/info").needs(&["path"]).gives::<files::info::FileInfo>(200),
        post("/files/folder").needs(&["path"]).knows(&["mode"]).gives_nothing(201),
        post("/files/move").needs(&["source", "destination"]).gives_nothing(200),
        post("/files/permissions").needs(&["path"]).knows(&["mode", "owner", "group"]).gives_nothing(200),
        get("/files/find").needs(&["path", "pattern"]).gives_list::<files::find::Match>(),
        get("/files/search").needs(&["path", "pattern"]).gives::<files::search::Found>(200),
        post("/files/replace").takes::<files::replace::Replace>().gives_list::<files::replace::Replaced>(),
        get("/files/watch").knows(&["path", "recursive"]).gives_media("text/event-stream"),
        get("/files/download").needs(&["path"]).gives_media("application/octet-stream"),
        post("/files/bulk-download").takes::<files::bulk_download::BulkDownload>().gives_media("multipart/form-data"),
        post("/files/upload").needs(&["path"]).takes_form(file()).gives::<files::upload::UploadedFile>(200),
        post("/files/upload-v2").needs(&["path"]).takes_form(file()).gives::<files::upload::UploadedFile>(200),
        post("/files/bulk-upload")
            .takes_form(json!({
                "files[0].path": { "type": "string" },
                "files[0].file": { "type": "string", "format": "binary" },
            }))
            .gives::<files::bulk_upload::Outcome>(200)
            .gives::<files::bulk_upload::Outcome>(400),
    ]
}

fn git() -> Vec<Operation> {
    vec![
        post("/git/clone").takes::<git::clone::Request>().gives_nothing(200),
        post("/git/init").takes::<git::init::Request>().gives_nothing(201),
        get("/git/status").needs(&["path"]).gives::<git::status::Status>(200),
        get("/git/history").needs(&["path"]).gives_list::<git::history::Commit<'_>>(),
        post("/git/add").takes::<git::add::Request>().gives_nothing(200),
        post("/git/commit").takes::<git::commit::Request>().gives::<git::commit::Committed>(200),
        post("/git/push").takes::<git::push::Request>().gives_nothing(200),
        post("/git/pull").takes::<git::pull::Request>().gives_nothing(200),
        get("/git/branches").needs(&["path"]).gives::<git::branches::Branches>(200),
        post("/git/branches").takes::<git::branches::Request>().gives_nothing(201),
        delete("/git/branches").takes::<git::branches::Request>().gives_nothing(204),
        post("/git/checkout").takes::<git::checkout::Request>().gives_nothing(200),
        post("/git/reset").takes::<git::reset::Request>().gives_nothing(200),
        post("/git/restore").takes::<git::restore::Request>().gives_nothing(200),
        get("/git/remotes").needs(&["path"]).gives::<git::remotes::Remotes>(200),
        post("/git/remotes").takes::<git::remotes::AddRequest>().gives_nothing(201),
        get("/git/config").needs(&["key"]).knows(&["path", "scope"]).gives::<git::config::Answer>(200),
        post("/git/config").takes::<git::config::SetRequest>().gives_nothing(200),
        post("/git/config/user").takes::<git::config::UserRequest>().gives_nothing(200),
        post("/git/credentials").takes::<git::credentials::Request>().gives_nothing(200),
    ]
}

fn language_servers() -> Vec<Operation> {
    let project = ["languageId", "pathToProject"];
    vec![
        post("/lsp/start").takes::<lsp::ServerRequest>().gives_nothing(200),
        post("/lsp/stop").takes::<lsp::ServerRequest>().gives_nothing(200),
        post("/lsp/did-open").takes::<lsp::DocumentRequest>().gives_nothing(200),
        post("/lsp/did-close").takes::<lsp::DocumentRequest>().gives_nothing(200),
        post("/lsp/completions").takes::<lsp::CompletionRequest>().gives::<completions::CompletionList>(200),
        get("/lsp/document-symbols").needs(&project).needs(&["uri"]).gives_list::<symbols::Symbol>(),
        get("/lsp/workspacesymbols").needs(&project).knows(&["query"]).gives_list::<symbols::Symbol>(),
        // As clients up to 0.112 call it.
        get("/lsp/workspace-symbols").needs(&project).knows(&["query"]).gives_list::<symbols::Symbol>(),
    ]
}

fn others() -> Vec<Operation> {
    vec![
        // The answer to all of it: there is no desktop.
        Operation::new("*", "/computeruse/*").gives::<Envelope<'_>>(503),
        get("/user-home-dir").gives::<system::Directory>(200),
        get("/work-dir").gives::<system::Directory>(200),
        get("/project-dir").gives::<system::Directory>(200),
        get("/version").gives::<system::Version>(200),
        post("/init").gives::<system::Message>(200),
        post("/env").takes::<environment::Change>().gives::<system::Message>(200),
        get("/system/metrics").gives::<system::metrics::Metrics>(200),
        get("/port").gives::<system::ports::Ports>(200),
        get("/port/{port}/in-use").gives::<system::ports::InUse>(200),
    ]
}
