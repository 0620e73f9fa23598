use super::*;
use crate::driver::manifest::Manifest;

/// Rules as the docker-container driver needs them.
const DOCKER: &str = r#"
    [[grants.engine]]
    method = "GET"
    path = "/containers/buildx_buildkit_{node}/json"

    [[grants.engine]]
    method = "GET"
    path = "/containers/buildx_buildkit_{node}/logs"
    query = { stdout = "1", stderr = "1", follow = ["0", "1"], tail = "*" }

    [[grants.engine]]
    method = "POST"
    path = "/containers/create"
    query = { name = "buildx_buildkit_{node}" }
    required-query = ["name"]
    required-body = ["/HostConfig/Privileged"]
    remember = { container = "/Id" }
    [grants.engine.body]
    "/Image" = "*"
    "/Cmd/*" = "*"
    "/Env/*" = "*"
    "/HostConfig/Privileged" = true
    "/HostConfig/Init" = true
    "/HostConfig/Memory" = "*"
    "/HostConfig/NetworkMode" = ["host", "{option:network}"]
    "/HostConfig/CgroupParent" = ["/docker/buildx", "{option:cgroup-parent}"]
    "/HostConfig/RestartPolicy/**" = "*"
    "/HostConfig/Mounts/*/Type" = "volume"
    "/HostConfig/Mounts/*/Source" = "buildx_buildkit_{node}_state"
    "/HostConfig/Mounts/*/Target" = "/var/lib/buildkit"

    [[grants.engine]]
    method = "POST"
    path = "/containers/{id:container}/start"

    [[grants.engine]]
    method = "POST"
    path = "/containers/buildx_buildkit_{node}/exec"
    remember = { exec = "/Id" }
    [grants.engine.body]
    "/Cmd/0" = ["buildctl", "buildkitd"]
    "/Cmd/*" = "*"
    "/AttachStdin" = true
    "/AttachStdout" = true
    "/AttachStderr" = true

    [[grants.engine]]
    method = "POST"
    path = "/exec/{id:exec}/start"
    body = { "/Detach" = false, "/Tty" = false }

    [[grants.engine]]
    method = "PUT"
    path = "/containers/buildx_buildkit_{node}/archive"
    query = { path = "/etc", noOverwriteDirNonDir = true }
    raw-body = true

    [[grants.engine]]
    method = "DELETE"
    path = "/volumes/buildx_buildkit_{node}_state"
    query = { force = [true, 1] }
"#;

/// Rules as the kubernetes driver needs them.
const KUBERNETES: &str = r#"
    [[grants.cluster]]
    method = "GET"
    path = "/api/v1/namespaces/{option:namespace}/pods"
    query = { labelSelector = ["app={node-dns}", "app={node-dns},*", "*,app={node-dns}", "*,app={node-dns},*"] }
    remember = { pod = "/items/*/metadata/name" }

    [[grants.cluster]]
    method = "GET"
    path = "/api/v1/namespaces/{option:namespace}/pods/{id:pod}/log"
    query = { follow = [true, false], tailLines = "*" }

    [[grants.cluster]]
    method = "POST"
    path = "/apis/apps/v1/namespaces/{option:namespace}/deployments"
    [grants.cluster.body]
    "/kind" = "Deployment"
    "/metadata/name" = "{node-dns}"
    "/metadata/annotations/**" = "*"
    "/spec/replicas" = "*"
    "/spec/template/spec/containers/*/image" = "*"
    "/spec/template/spec/containers/*/securityContext/privileged" = true
    "/spec/template/spec/volumes/*/name" = "*"
    "/spec/template/spec/volumes/*/configMap/name" = "{node-dns}-config*"
    "/spec/template/spec/serviceAccountName" = "{option:serviceaccount}"

    [[grants.cluster]]
    method = "PATCH"
    path = "/apis/apps/v1/namespaces/{option:namespace}/deployments/{node-dns}"
    body = { "/spec/replicas" = "*" }
"#;

struct Bench {
    manifest: Manifest,
    config: NodeConfig,
    ids: Vec<(&'static str, &'static str)>,
}

impl Bench {
    fn new(rules: &str) -> Self {
        let head = "schema-version = 1\nname = 'a'\nversion = '1'\n";
        let options = [
            ("network", "build*net"),
            ("namespace", "ci"),
            ("serviceaccount", "builder"),
        ];
        Self {
            manifest: Manifest::parse(&format!("{head}{rules}")).unwrap(),
            config: NodeConfig {
                node: "b_0".to_owned(),
                options: options
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                ..NodeConfig::default()
            },
            ids: Vec::new(),
        }
    }

    fn with_id(mut self, class: &'static str, id: &'static str) -> Self {
        self.ids.push((class, id));
        self
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Rule<'_>, Denied> {
        let remembered = |class: &str, id: &str| self.ids.iter().any(|(c, i)| (*c, *i) == (class, id));
        let scope = Scope::new(&self.config, &remembered);
        let request = Request {
            method,
            path,
            body: body.as_bytes(),
        };
        let grants = &self.manifest.grants;
        let rules = if grants.engine.is_empty() {
            &grants.cluster
        } else {
            &grants.engine
        };
        find(rules, &request, &scope)
    }

    #[track_caller]
    fn allows(&self, method: &str, path: &str, body: &str) {
        self.ask(method, path, body).unwrap();
    }

    #[track_caller]
    fn refuses(&self, method: &str, path: &str, body: &str, words: &str) {
        let refusal = self.ask(method, path, body).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}

const NO_RULE: &str = "no rule of the driver's manifest allows this method and path";

#[test]
fn a_path_is_matched_segment_by_segment() {
    let docker = Bench::new(DOCKER);
    docker.allows("GET", "/containers/buildx_buildkit_b_0/json", "");
    docker.allows("GET", "/containers/buildx%5Fbuildkit_b_0/json", "");
    for path in [
        "/containers/other/json",
        "/containers/buildx_buildkit_b_0/json/",
        "/containers//json",
        "/containers/buildx_buildkit_b_0/../other/json",
        "/containers/buildx_buildkit_b_0%2f..%2fother/json",
        "/v1.44/containers/buildx_buildkit_b_0/json",
        "containers/buildx_buildkit_b_0/json",
        "/containers/buildx_buildkit_b_0/json#x",
        "http://elsewhere/containers/buildx_buildkit_b_0/json",
        "/containers/%ff/json",
    ] {
        docker.refuses("GET", path, "", NO_RULE);
    }
    docker.refuses("POST", "/containers/buildx_buildkit_b_0/json", "", NO_RULE);
    docker.refuses("get", "/containers/buildx_buildkit_b_0/json", "", NO_RULE);
}

#[test]
fn a_refusal_names_the_call_and_the_rule() {
    let docker = Bench::new(DOCKER);
    let refusal = docker.ask("GET", "/images/json?all=1", "").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "`GET /images/json` is not granted: no rule of the driver's manifest allows this method and path"
    );
    let refusal = docker
        .ask("DELETE", "/volumes/buildx_buildkit_b_0_state?force=2", "")
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "`DELETE /volumes/buildx_buildkit_b_0_state` is not granted: the rule `DELETE \
         /volumes/buildx_buildkit_{node}_state` does not allow `force=2` in the query"
    );
}

#[test]
fn a_query_has_named_keys_once_each() {
    let docker = Bench::new(DOCKER);
    let logs = "/containers/buildx_buildkit_b_0/logs";
    docker.allows("GET", &format!("{logs}?stdout=1&follow=0&tail=100"), "");
    docker.refuses("GET", &format!("{logs}?stdout=0"), "", "`stdout=0` in the query");
    docker.refuses("GET", &format!("{logs}?since=0"), "", "`since=0` in the query");
    docker.refuses(
        "GET",
        &format!("{logs}?follow=0&follow=1"),
        "",
        "`follow=1` in the query",
    );
    docker.allows("DELETE", "/volumes/buildx_buildkit_b_0_state?force=true", "");
    docker.allows("DELETE", "/volumes/buildx_buildkit_b_0_state?force=1", "");
}

#[test]
fn a_body_has_named_fields_only() {
    let docker = Bench::new(DOCKER);
    let create = "/containers/create?name=buildx_buildkit_b_0";
    let allows = |body: &str| docker.allows("POST", create, body);
    let refuses = |body: &str, field: &str| {
        docker.refuses(
            "POST",
            create,
            body,
            &format!("does not allow the body's field `{field}`"),
        );
    };
    allows(
        r#"{"Image":"moby/buildkit","Cmd":["--debug"],"Env":null,"HostConfig":{"Privileged":true,"Memory":1024,
            "NetworkMode":"build*net","RestartPolicy":{"Name":"always","MaximumRetryCount":3},
            "Mounts":[{"Type":"volume","Source":"buildx_buildkit_b_0_state","Target":"/var/lib/buildkit"}]}}"#,
    );
    refuses(r#"{"HostConfig":{"Binds":["/:/host"]}}"#, "/HostConfig/Binds/0");
    refuses(r#"{"HostConfig":{"PidMode":"host"}}"#, "/HostConfig/PidMode");
    refuses(
        r#"{"HostConfig":{"Privileged":"true"}}"#,
        "/HostConfig/Privileged",
    );
    refuses(
        r#"{"HostConfig":{"NetworkMode":"buildmynet"}}"#,
        "/HostConfig/NetworkMode",
    );
    refuses(
        r#"{"HostConfig":{"Mounts":[{"Type":"bind"}]}}"#,
        "/HostConfig/Mounts/0/Type",
    );
    refuses(r#"{"HostConfig":"Privileged"}"#, "/HostConfig");
    refuses(r#"{"hostconfig":{"Privileged":true}}"#, "/hostconfig/Privileged");
    refuses(r#"{"HostConfig/Privileged":true}"#, "/HostConfig/Privileged");
    // What the option was not given for matches nothing.
    refuses(
        r#"{"HostConfig":{"CgroupParent":""}}"#,
        "/HostConfig/CgroupParent",
    );
    docker.refuses("POST", "/containers/create?name=other", "{}", "`name=other`");
}

#[test]
fn what_a_rule_requires_must_be_there() {
    let docker = Bench::new(DOCKER);
    let create = "/containers/create?name=buildx_buildkit_b_0";
    let privileged = r#"{"HostConfig":{"Privileged":true}}"#;
    docker.allows("POST", create, privileged);
    docker.refuses(
        "POST",
        "/containers/create",
        privileged,
        "requires `name` in the query",
    );
    let words = "requires the body's field `/HostConfig/Privileged`";
    for body in [
        "",
        "{}",
        r#"{"Image":"i"}"#,
        r#"{"HostConfig":{"Privileged":null}}"#,
    ] {
        docker.refuses("POST", create, body, words);
    }
}

#[test]
fn what_can_never_be_given_cannot_be_required() {
    let rule = |text: &str| toml::from_str::<RuleText>(text).unwrap().check();
    rule("method = 'POST'\npath = '/a'\nbody = { '/b/*' = 1 }\nrequired-body = ['/b/0']").unwrap();
    assert_eq!(
        rule("method = 'POST'\npath = '/a'\nrequired-query = ['x']").unwrap_err(),
        "requires `x`, which it does not allow"
    );
    assert_eq!(
        rule("method = 'POST'\npath = '/a'\nbody = { '/b' = 1 }\nrequired-body = ['/b/c']").unwrap_err(),
        "requires `/b/c`, which it does not allow"
    );
}

#[test]
fn doubled_braces_are_braces() {
    let rules = Bench::new(
        r#"
        [[grants.engine]]
        method = "GET"
        path = "/events"
        query = { filters = '{{"container":["{node}"]}}' }
        "#,
    );
    rules.allows("GET", "/events?filters={\"container\":[\"b_0\"]}", "");
    rules.refuses(
        "GET",
        "/events?filters={\"container\":[\"b_1\"]}",
        "",
        "in the query",
    );
}

#[test]
fn a_body_is_read_in_one_way_only() {
    let docker = Bench::new(DOCKER);
    let create = "/containers/create?name=buildx_buildkit_b_0";
    let words = "wants a JSON body whose objects name each field once";
    for body in [
        r#"{"Image":"a","Image":"b"}"#,
        r#"{"Image":"a","image":"b"}"#,
        r#"{"HostConfig":{"Privileged":true,"PRIVILEGED":true}}"#,
        r#"{"Image":"a"} {"Image":"b"}"#,
        r#"{"Image":"#,
        "Image=a",
    ] {
        docker.refuses("POST", create, body, words);
    }
    docker.refuses(
        "GET",
        "/containers/buildx_buildkit_b_0/json",
        "{}",
        "allows no body",
    );
    docker.allows(
        "PUT",
        "/containers/buildx_buildkit_b_0/archive?path=/etc&noOverwriteDirNonDir=true",
        "no JSON, an archive",
    );
}

#[test]
fn ids_are_allowed_once_an_allowed_answer_had_them() {
    let start = "/exec/e1/start";
    let body = r#"{"Detach":false,"Tty":false}"#;
    let docker = Bench::new(DOCKER);
    docker.refuses("POST", start, body, NO_RULE);
    let exec = docker
        .ask(
            "POST",
            "/containers/buildx_buildkit_b_0/exec",
            r#"{"Cmd":["buildctl","dial-stdio"],"AttachStdin":true}"#,
        )
        .unwrap();
    let answer = serde_json::json!({"Id": "e1", "Other": "e2"});
    assert_eq!(exec.ids(&answer), [("exec", "e1")]);

    let docker = Bench::new(DOCKER)
        .with_id("exec", "e1")
        .with_id("container", "c1");
    docker.allows("POST", start, body);
    docker.refuses("POST", start, r#"{"Detach":true}"#, "field `/Detach`");
    docker.refuses("POST", "/exec/e2/start", body, NO_RULE);
    // Of another class.
    docker.refuses("POST", "/exec/c1/start", body, NO_RULE);
    docker.allows("POST", "/containers/c1/start", "");
}

#[test]
fn pods_are_those_of_the_builders_selector() {
    let kubernetes = Bench::new(KUBERNETES);
    let pods = "/api/v1/namespaces/ci/pods";
    for selector in ["app=b-0", "app=b-0,team=x", "aa=1,app=b-0", "aa=1,app=b-0,zz=2"] {
        let encoded: String = url::form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        kubernetes.allows("GET", &format!("{pods}?labelSelector={encoded}"), "");
    }
    for selector in ["", "app=b-01", "myapp=b-0", "app!=b-0", "app+in+(b-0)"] {
        kubernetes.refuses(
            "GET",
            &format!("{pods}?labelSelector={selector}"),
            "",
            "in the query",
        );
    }
    kubernetes.refuses(
        "GET",
        "/api/v1/namespaces/prod/pods?labelSelector=app=b-0",
        "",
        NO_RULE,
    );
    let list = kubernetes
        .ask("GET", &format!("{pods}?labelSelector=app=b-0"), "")
        .unwrap();
    let answer =
        serde_json::json!({"items": [{"metadata": {"name": "p1"}}, {"metadata": {"name": "p2"}}, {}]});
    assert_eq!(list.ids(&answer), [("pod", "p1"), ("pod", "p2")]);

    kubernetes.refuses("GET", &format!("{pods}/p1/log"), "", NO_RULE);
    let kubernetes = Bench::new(KUBERNETES).with_id("pod", "p1");
    kubernetes.allows("GET", &format!("{pods}/p1/log?follow=true"), "");
    kubernetes.refuses("GET", &format!("{pods}/p3/log"), "", NO_RULE);
}

#[test]
fn what_is_created_in_a_cluster_is_what_the_options_say() {
    let kubernetes = Bench::new(KUBERNETES);
    let path = "/apis/apps/v1/namespaces/ci/deployments";
    let pod = |spec: &str| {
        format!(
            r#"{{"kind":"Deployment","metadata":{{"name":"b-0","annotations":{{"a/b":"c"}}}},
                "spec":{{"replicas":2,"template":{{"spec":{spec}}}}}}}"#
        )
    };
    let container = r#"{"image":"i","securityContext":{"privileged":true}}"#;
    kubernetes.allows(
        "POST",
        path,
        &pod(&format!(
            r#"{{"containers":[{container}],"serviceAccountName":"builder","volumes":[{{"name":"v","configMap":{{"name":"b-0-config-1"}}}}]}}"#
        )),
    );
    for (spec, field) in [
        (r#"{"hostNetwork":true}"#, "hostNetwork"),
        (r#"{"hostPID":false}"#, "hostPID"),
        (r#"{"serviceAccountName":"admin"}"#, "serviceAccountName"),
        (
            r#"{"volumes":[{"hostPath":{"path":"/"}}]}"#,
            "volumes/0/hostPath/path",
        ),
        (
            r#"{"volumes":[{"secret":{"secretName":"s"}}]}"#,
            "volumes/0/secret/secretName",
        ),
        (
            r#"{"volumes":[{"configMap":{"name":"other"}}]}"#,
            "volumes/0/configMap/name",
        ),
    ] {
        let words = format!("field `/spec/template/spec/{field}`");
        kubernetes.refuses("POST", path, &pod(spec), &words);
    }
    kubernetes.refuses(
        "POST",
        path,
        r#"{"metadata":{"name":"other"}}"#,
        "field `/metadata/name`",
    );
}

#[test]
fn a_patch_takes_nothing_away() {
    let kubernetes = Bench::new(KUBERNETES);
    let path = "/apis/apps/v1/namespaces/ci/deployments/b-0";
    kubernetes.allows("PATCH", path, r#"{"spec":{"replicas":3}}"#);
    for (body, field) in [
        (r#"{"spec":{"replicas":3,"template":null}}"#, "/spec/template"),
        (r#"{"metadata":{"labels":{}}}"#, "/metadata/labels"),
        (
            r#"{"metadata":{"ownerReferences":[]}}"#,
            "/metadata/ownerReferences",
        ),
    ] {
        kubernetes.refuses("PATCH", path, body, &format!("field `{field}`"));
    }
}

#[test]
fn a_variables_value_is_text() {
    let bench = Bench::new(DOCKER);
    let nothing = |_: &str, _: &str| false;
    let scope = Scope::new(&bench.config, &nothing);
    assert!(matches("{option:network}", "build*net", &scope));
    assert!(!matches("{option:network}", "buildxnet", &scope));
    assert!(!matches("{option:unset}", "", &scope));
    assert!(!matches("{unknown}", "{unknown}", &scope));
    assert!(!matches("{open", "{open", &scope));
    assert!(matches("a*c*e", "abcde", &scope));
    assert!(!matches("a*c", "abcd", &scope));
}
