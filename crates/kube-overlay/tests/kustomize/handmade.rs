//! Cases made by hand.

use crate::{Case, compare, ours, reference};
use serde_json::{Value, json};

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn case(overlay: &str, objects: &[&str]) -> Case {
    Case {
        name: overlay.lines().next().unwrap_or_default().to_owned(),
        objects: objects.iter().map(|text| yaml(text)).collect(),
        overlay: overlay.to_owned(),
    }
}

/// A Deployment `web` with this pod spec.
fn web(pod: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": yaml(pod)}}})
}

fn pod_patch(target: &str, patch: &str) -> Case {
    let overlay = format!("patches:\n- patch: |\n    {}\n", web(patch));
    Case { name: format!("{target} + {patch}"), objects: vec![web(target)], overlay }
}

#[test]
fn strategic_merges() {
    let cases = [
        ("{nodeSelector: {a: x, b: y}}", "{nodeSelector: {b: z, c: w}}"),
        ("{nodeSelector: {a: x, b: y}}", "{nodeSelector: {b: null}}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {a: null}}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: null}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: replace, b: y, c: null}}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: delete}}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: merge, b: y}}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {$patch: other, b: y}}"),
        ("{nodeSelector: null}", "{nodeSelector: {b: y}}"),
        ("{nodeSelector: null}", "{hostname: h}"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: {}}"),
        ("{}", "{nodeSelector: {}}"),
        ("{}", "{nodeSelector: {a: null}}"),
        ("{}", "{nodeSelector: {$patch: delete, a: x}}"),
        ("{}", "{affinity: {nodeAffinity: {a: null, b: {c: null, d: 1}}}}"),
        ("containers: [{name: a, image: a}, {name: b}, {name: c}]", "containers: [{name: c, image: c}, {name: new}, {name: a, tty: true}]"),
        ("containers: [{name: a, image: a}, {name: b}]", "containers: [{name: b, $patch: delete}]"),
        ("containers: [{name: a}]", "containers: [{name: a, $patch: delete}]"),
        ("containers: [{name: a}]", "containers: [{name: z, $patch: delete}]"),
        ("containers: [{name: a}, {name: b}]", "containers: [{$patch: replace}, {name: c, tty: null}]"),
        ("containers: [{name: a}, {name: b}]", "containers: [{name: c}, {$patch: replace}]"),
        ("containers: [{name: a}]", "containers: [{$patch: delete}]"),
        ("containers: [{name: a}]", "containers: [{$patch: merge}, {name: b}]"),
        ("containers: [{name: a}]", "containers: []"),
        ("containers: [{name: a}]", "containers: null"),
        ("containers: []", "containers: [{name: a}]"),
        ("{}", "containers: [{name: a, tty: null, env: [{name: X, value: null}]}]"),
        ("{}", "containers: [{name: a, $patch: delete}, {name: b}]"),
        ("containers: [{name: a, args: [x, y]}]", "containers: [{name: a, args: [z]}]"),
        ("containers: [{name: a, args: [x, y]}]", "containers: [{name: a, args: []}]"),
        ("containers: [{name: a, args: [x, y]}]", "containers: [{name: a, args: null}]"),
        ("containers: [{name: a, args: [x]}, {name: b}]", "containers: [{name: b, args: [x, null]}]"),
        ("tolerations: [{key: a}]", "tolerations: [{key: b, value: null}]"),
        ("tolerations: [{key: a}]", "{nodeSelector: {x: y}}"),
        (
            "containers: [{name: a, env: [{name: A, value: '1'}, {name: B, value: '2'}]}]",
            "containers: [{name: a, env: [{name: C, value: '3'}, {name: B, value: '9'}]}]",
        ),
        (
            "containers: [{name: a, env: [{name: A, value: '1'}]}]",
            "containers: [{name: a, env: [{name: A, value: null, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]",
        ),
        ("volumes: [{name: v, emptyDir: {}}]", "volumes: [{name: v, emptyDir: null, configMap: {name: c}}]"),
        ("volumes: [{name: v, emptyDir: {}}]", "volumes: [{name: w, projected: {sources: [{secret: {name: s}}]}}]"),
        (
            "containers: [{name: a, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]}]",
            "containers: [{name: a, volumeMounts: [{name: w, mountPath: /b}]}]",
        ),
        (
            "containers: [{name: a, ports: [{containerPort: 80}]}]",
            "containers: [{name: a, ports: [{containerPort: 81}, {containerPort: 80, name: x}]}]",
        ),
        (
            "containers: [{name: a, ports: [{containerPort: 1, protocol: TCP}, {containerPort: 2, protocol: UDP}]}]",
            "containers: [{name: a, ports: [{containerPort: 2, protocol: UDP, name: x}, {containerPort: 3, protocol: TCP}]}]",
        ),
        (
            "containers: [{name: a, ports: [{containerPort: 1, protocol: TCP}, {containerPort: 2, protocol: UDP}]}]",
            "containers: [{name: a, ports: [{containerPort: 2, protocol: UDP, $patch: delete}]}]",
        ),
        (
            "topologySpreadConstraints: [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule, maxSkew: 1}]",
            "topologySpreadConstraints: [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule, maxSkew: 2}, {topologyKey: host, whenUnsatisfiable: DoNotSchedule}]",
        ),
        ("imagePullSecrets: [{name: a}]", "imagePullSecrets: [{name: b}]"),
        ("hostAliases: [{ip: 1.1.1.1, hostnames: [a]}]", "hostAliases: [{ip: 1.1.1.1, hostnames: [b]}, {ip: 2.2.2.2}]"),
        ("containers: [{name: a}]", "containers: {name: a}"),
        ("containers: [{name: a}]", "containers: a"),
        ("{nodeSelector: {a: x}}", "{nodeSelector: [a]}"),
        ("{hostname: a}", "{hostname: {a: b}}"),
        ("{hostname: a}", "{hostname: null}"),
        ("{terminationGracePeriodSeconds: 30}", "{terminationGracePeriodSeconds: '30'}"),
        ("{hostNetwork: true}", "{hostNetwork: false}"),
    ];
    compare(&cases.map(|(target, patch)| pod_patch(target, patch)));
}

#[test]
fn strategic_merges_of_other_kinds() {
    let service =
        "{apiVersion: v1, kind: Service, metadata: {name: s, finalizers: [a, b]}, spec: {ports: [{port: 80, targetPort: 1}, {port: 81}]}}";
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w, finalizers: [a]}, spec: {containers: [{name: a}], n: null, deep: {a: {b: 1}}}}";
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1', b: '2'}}";
    let patch = |id: &str, rest: &str| format!("patches:\n- patch: |\n    {{{id}, {rest}}}\n");
    let (s, w, c) = (
        "apiVersion: v1, kind: Service, metadata: {name: s}",
        "apiVersion: example.com/v1, kind: Widget, metadata: {name: w}",
        "apiVersion: v1, kind: ConfigMap, metadata: {name: c}",
    );
    compare(&[
        case(&patch(s, "spec: {ports: [{port: 81, name: x}, {port: 82}]}"), &[service]),
        case(&patch("apiVersion: v1, kind: Service, metadata: {name: s, finalizers: [c, a]}", "spec: {type: NodePort}"), &[service]),
        case(&patch(w, "spec: {containers: [{name: b}], deep: {a: null, c: [1]}}"), &[widget]),
        case(&patch("apiVersion: example.com/v1, kind: Widget, metadata: {name: w, finalizers: [b]}", "x: 1"), &[widget]),
        case(&patch(c, "data: {b: null, c: '3'}"), &[config, service]),
        case(&patch(c, "$patch: delete"), &[config, service]),
        case(&patch("apiVersion: v1, kind: ConfigMap, metadata: {name: other}", "data: {}"), &[config]),
        case(&patch("apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: x}", "data: {}"), &[config]),
        case(&patch("apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: default}", "data: {d: '1'}"), &[config]),
    ]);
}

const SET: [&str; 5] = [
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, labels: {app: web}, annotations: {team: a}}, spec: {replicas: 1}}",
    "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {ports: [{port: 80}]}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: web-config}, data: {a: b}}",
    "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: web}, rules: []}",
    "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w.x}, spec: {list: [1, 2]}}",
];

#[test]
fn targets_and_json_patches() {
    let targets = [
        "{kind: Deployment}",
        "{kind: Deployment|Service}",
        "{kind: Deploy}",
        "{name: web}",
        "{name: web.*}",
        "{name: w.x}",
        "{group: apps}",
        "{group: .*}",
        "{version: v1}",
        "{namespace: shop}",
        "{namespace: default}",
        "{namespace: .*}",
        "{labelSelector: app=web}",
        "{labelSelector: '!app'}",
        "{labelSelector: 'app in (web, db),kind notin (x)'}",
        "{annotationSelector: team}",
        "{annotationSelector: team!=a, kind: Service}",
        "{kind: Widget, name: 'w\\.x'}",
        "{labelSelector: 'app in'}",
        "{name: '('}",
    ];
    let patches = [
        "{apiVersion: v1, kind: Other, metadata: {name: any, annotations: {patched: 'yes'}}}",
        "[{op: add, path: /metadata/annotations, value: {only: this}}]",
        "[{op: test, path: /metadata/name, value: web}, {op: add, path: /spec, value: {}}]",
        "{apiVersion: v1, kind: Other, metadata: {name: any}, $patch: delete}",
    ];
    let mut cases = Vec::new();
    for target in targets {
        for patch in patches {
            cases.push(case(&format!("patches:\n- target: {target}\n  patch: |\n    {patch}\n"), &SET));
        }
    }
    for (target, patch) in [
        ("{kind: Deployment}", "[{op: replace, path: /spec/replicas, value: 3}]"),
        ("{kind: Deployment}", "[{op: remove, path: /spec/absent}]"),
        (
            "{kind: Widget}",
            "[{op: add, path: /spec/list/0, value: 0}, {op: add, path: /spec/list/-, value: 9}, {op: remove, path: /spec/list/1}]",
        ),
        ("{kind: Widget}", "[{op: move, from: /spec/list, path: /spec/other}, {op: copy, from: /spec/other/0, path: /spec/first}]"),
        ("{kind: Widget}", "[{op: add, path: /spec/list/7, value: 0}]"),
        ("{kind: Widget}", "[{op: add, path: /a/b, value: 0}]"),
        ("{kind: Widget}", "[{op: add, path: /metadata/labels, value: {a~b: c/d}}, {op: replace, path: /metadata/labels/a~0b, value: e}]"),
        (
            "{kind: Deployment}",
            "{spec: {replicas: 2}, apiVersion: x, kind: Y, metadata: {name: z}}\n    ---\n    {apiVersion: x, kind: Y, metadata: {name: z}}",
        ),
    ] {
        cases.push(case(&format!("patches:\n- target: {target}\n  patch: |\n    {patch}\n"), &SET));
    }
    cases.push(case("patches: [{patch: '[{op: add, path: /x, value: 1}]'}]", &SET));
    cases.push(case(
        "patches:\n- target: {kind: Deployment}\n  options: {allowNameChange: true}\n  patch: '{apiVersion: apps/v1, kind: X, metadata: {name: new}, spec: {replicas: 4}}'",
        &SET,
    ));
    cases.push(case(
        "patches:\n- target: {kind: Deployment}\n  options: {allowKindChange: true}\n  patch: '{apiVersion: v9, kind: StatefulSet, metadata: {name: new}}'",
        &SET,
    ));
    compare(&cases);
}

#[test]
fn label_selectors() {
    let selectors = [
        "",
        " ",
        "app",
        "!app",
        "! app",
        "app=web",
        "app==web",
        "app = web",
        "app!=web",
        "app=",
        "app!=",
        "absent=",
        "app in (web)",
        "app in (web,db)",
        "app in ( web , db )",
        "app in(web)",
        "app in ()",
        "app in (,web)",
        "app in (web,)",
        "app notin (db)",
        "app notin (web)",
        "absent notin (x)",
        "app,!absent",
        "app=web,absent!=x",
        "app,",
        ",app",
        ",,",
        "app web",
        "app=web app",
        "app in web",
        "app in (web",
        "app in web)",
        "app>1",
        "app<1",
        "app>x",
        "rank>1",
        "rank>2",
        "rank<3",
        "rank<2",
        "a/b/c",
        "-app",
        "app-",
        "app=-x",
        "app=a b",
        "app=web=x",
        "App=web",
        "EXAMPLE.com/app",
        "example.com/app",
        "example.com/",
        "/app",
        "in",
        "in in (in)",
        "notin",
        "!app=web",
        "app!web",
        "(app)",
        "app=(web)",
        "!",
        "=",
        "app=web!",
        "app=web,app=db",
        "app in (web),rank",
        "app===web",
        "app=!web",
        "app notin(web)",
        "rank=2",
        "rank in (2)",
    ];
    let object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {app: web, rank: '2', in: in}}}";
    let long = [format!("{}=x", "k".repeat(63)), format!("{}=x", "k".repeat(64)), format!("app={}", "v".repeat(64))];
    let cases = selectors.iter().map(|text| (*text).to_owned()).chain(long).map(|text| Case {
        name: text.clone(),
        objects: vec![yaml(object)],
        overlay: json!({"patches": [{"target": {"labelSelector": text}, "patch": "{apiVersion: v1, kind: X, metadata: {name: x, annotations: {selected: 'yes'}}}"}]}).to_string(),
    });
    assert!(compare(&cases.collect::<Vec<_>>()) > 25);
}

/// Objects in which every field of Kustomize's label and annotation tables is there.
const WORKLOADS: [&str; 11] = [
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {app: d}}, template: {metadata: {labels: {app: d}}, spec: {
      affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{podAffinityTerm: {labelSelector: {matchLabels: {app: d}}}}]},
      podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: d}}}, {labelSelector: {}}]}},
      topologySpreadConstraints: [{labelSelector: {matchLabels: {app: d}}}]}}}}",
    "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s}, spec: {serviceName: s, volumeClaimTemplates: [{metadata: {name: v}}, {spec: {}}], template: {spec: {affinity: {}}}}}",
    "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: ds}, spec: {}}",
    "{apiVersion: batch/v1, kind: CronJob, metadata: {name: cj}, spec: {jobTemplate: {spec: {selector: {matchLabels: {a: b}}, template: {spec: {}}}}}}",
    "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {selector: {matchLabels: {a: b}}, template: {spec: {}}}}",
    "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: p}, spec: {selector: {matchLabels: {a: b}}}}",
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {matchLabels: {a: b}}, ingress: [{from: [{podSelector: {matchLabels: {a: b}}},
      {ipBlock: {cidr: 0.0.0.0/0}}]}], egress: [{to: [{podSelector: {matchLabels: {}}}]}]}}",
    "{apiVersion: v1, kind: Service, metadata: {name: svc, labels: {x: old}, annotations: {x: old}}}",
    "{apiVersion: v1, kind: Pod, metadata: {name: pod}, spec: {containers: [{name: a, image: 'nginx:1'}]}}",
    "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {selector: {a: b}}}",
    "{apiVersion: example.com/v1, kind: Deployment, metadata: {name: cr}, spec: {a: b}}",
];

#[test]
fn labels_annotations_and_replicas() {
    let overlays = [
        "labels: [{pairs: {x: 'new', y: '2'}}]",
        "labels: [{pairs: {x: 'new', y: '2'}, includeSelectors: true}]",
        "labels: [{pairs: {x: 'new'}, includeTemplates: true}]",
        "labels: [{pairs: {x: 'new'}, includeTemplates: true, includeSelectors: true}, {pairs: {z: newer}}]",
        "labels: [{pairs: {}}]",
        "commonAnnotations: {x: new, y: '2'}",
        "replicas: [{name: d, count: 3}, {name: s, count: 0}, {name: rc, count: 2}]",
        "replicas: [{name: cr, count: 3}]",
        "commonAnnotations: {x: new}\nlabels: [{pairs: {x: 'new'}, includeSelectors: true}]\nreplicas: [{name: d, count: 3}]\nnamespace: moved",
    ];
    let mut cases: Vec<Case> = overlays.map(|overlay| case(overlay, &WORKLOADS)).into_iter().collect();
    cases.push(case(
        "labels: [{pairs: {x: y}, includeSelectors: true}]",
        &["{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: null}}"],
    ));
    cases.push(case("labels: [{pairs: {x: y}}]", &["{apiVersion: v1, kind: ConfigMap, metadata: {name: s, labels: null}}"]));
    cases.push(case(
        "labels: [{pairs: {x: y}, includeSelectors: true}]",
        &["{apiVersion: v1, kind: Service, metadata: {name: s}, spec: text}"],
    ));
    cases.push(case("replicas: [{name: d, count: 3}]", &["{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}"]));
    compare(&cases);
}

#[test]
fn fields_of_labels() {
    let fields = [
        "{path: spec/widget/labels, kind: Deployment, create: true}",
        "{path: spec/widget/labels, kind: Deployment}",
        "{path: /spec/a/labels, group: example.com, create: true}",
        "{path: spec/a, group: example.com, create: true}",
        "{path: spec/template/metadata/labels, kind: Deployment, create: true}",
        "{path: spec/template/metadata/labels, kind: Deployment}",
        "{path: spec/template/metadata/labels, create: true}",
        "{path: spec/template/metadata/labels, group: apps, kind: Deployment, create: true}",
        "{path: metadata/labels, kind: Service, create: true}",
        "{path: metadata/labels, kind: Service}",
        "{path: metadata/labels, create: true}",
        "{path: metadata/annotations, version: v1, create: true}",
        "{path: metadata/example.com\\/labels, kind: Pod, create: true}",
        "{path: spec/containers/labels, kind: Pod, create: true}",
        "{path: spec/containers, kind: Pod, create: true}",
        "{path: 'spec/containers[]/labels', kind: Pod, create: true}",
        "{path: 'spec/volumes[]/labels', kind: Pod, create: true}",
        "{path: spec/volumeClaimTemplates/metadata/labels, kind: StatefulSet, create: true}",
        "{path: spec/volumeClaimTemplates/metadata/labels, kind: StatefulSet}",
        "{path: spec/serviceName/labels, kind: StatefulSet}",
        "{path: spec/serviceName, kind: StatefulSet}",
        "{path: 'a//b', kind: Pod, create: true}",
        "{path: 'a/', kind: Pod, create: true}",
        "{path: '', kind: Pod}",
        "{path: '[]', kind: Pod}",
        "{path: spec/other, kind: Nothing, create: true}",
    ];
    let mut cases = Vec::new();
    for include in ["", "includeSelectors: true, ", "includeTemplates: true, "] {
        let overlay = |fields: &str| format!("labels: [{{pairs: {{x: 'new', y: '2'}}, {include}fields: [{fields}]}}]");
        cases.extend(fields.iter().map(|field| case(&overlay(field), &WORKLOADS)));
        cases.push(case(&overlay(&[fields[0], fields[2], fields[8]].join(", ")), &WORKLOADS));
    }
    cases.push(case("labels: [{pairs: {}, fields: [{path: metadata/labels}]}]", &WORKLOADS));
    assert!(compare(&cases) > 40);
}

#[test]
fn images() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: pod}, spec: {volumes: [{name: v, image: {reference: 'nginx:vol'}}, {name: w}], initContainers: [{name: i, image: nginx}],
      ephemeralContainers: [{name: e, image: nginx}], containers: [{name: a, image: 'nginx:1'}, {name: b, image: 'docker.io/library/nginx:1@sha256:ab'}, {name: c, image: 'nginx@sha256:ab'},
      {name: d}, {name: e, image: 'localhost:5000/nginx'}, {name: f, image: 'localhost:5000/nginx:1@sha256:ab'}, {name: g, image: 'nginx-x:1'}, {name: h, image: 'nginx:a/b'}]}}";
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {a: [{containers: [{image: 'nginx:1', x: {initContainers: [{image: nginx}]}}]}], image: nginx}}";
    let cron = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: 'nginx:1'}]}}}}}}";
    let definition = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x.y}, spec: {containers: [{image: 'nginx:1'}]}}";
    let overlays = [
        "images: [{name: nginx, newTag: '2'}]",
        "images: [{name: nginx, newName: other/nginx}]",
        "images: [{name: nginx, newName: 'r:80/n', newTag: v2, digest: 'sha256:cd'}]",
        "images: [{name: nginx, digest: 'sha256:cd'}]",
        "images: [{name: docker.io/library/nginx, newName: nginx}]",
        "images: [{name: 'localhost:5000/nginx', newTag: '3'}]",
        "images: [{name: nginx, newName: apache}, {name: apache, newTag: '9'}]",
        "images: [{name: apache, newTag: '9'}, {name: nginx, newName: apache}]",
        "images: [{name: 'nginx:1', newTag: '9'}]",
        "images: [{name: nginx}]",
        "images: [{name: absent, newTag: '1'}]",
    ];
    compare(&overlays.map(|overlay| case(overlay, &[pod, widget, cron, definition])));
}

#[test]
fn namespaces() {
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bot, namespace: a}}";
    let account_without = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bot}}";
    let service = "{apiVersion: v1, kind: Service, metadata: {name: hook, namespace: a}}";
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: b}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r},
      subjects: [{kind: ServiceAccount, name: bot, namespace: a}, {kind: ServiceAccount, name: default, namespace: z}, {kind: ServiceAccount, name: bot, namespace: z},
      {kind: ServiceAccount, name: bot}, {kind: ServiceAccount, name: bot, namespace: default}, {kind: User, name: jane}, {kind: ServiceAccount, name: absent, namespace: a}]}";
    let webhook = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: v}, webhooks: [{name: x, clientConfig: {service: {name: hook, namespace: a}}},
      {name: y, clientConfig: {service: {name: absent, namespace: a}}}, {name: z, clientConfig: {url: 'https://x'}}, {name: o, clientConfig: {service: {name: hook, namespace: other}}}]}";
    let api =
        "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.x}, spec: {service: {name: hook, namespace: q}}}";
    let definition = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x.y}, spec: {conversion: {webhook: {clientConfig: {service: {name: hook, namespace: q}}}}}}";
    let plain_definition = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x.z}, spec: {}}";
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}";
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}";
    let sets: [&[&str]; 10] = [
        &[account, binding],
        &[account_without, binding],
        &[binding],
        &[service, webhook, api, definition, plain_definition],
        &[webhook],
        &[namespace, widget, account],
        &["{apiVersion: v1, kind: Namespace, metadata: {name: a}}", "{apiVersion: v1, kind: Namespace, metadata: {name: b}}"],
        &[account, account_without],
        &[
            "{apiVersion: example.com/v1, kind: Namespace, metadata: {name: n}}",
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}",
        ],
        &[
            "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.x}, spec: {group: x}}",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: null}}",
        ],
    ];
    compare(&sets.map(|set| case("namespace: moved", set)));
}

/// What README.md lists as different on purpose is different, and in the way it says.
#[test]
fn known_differences() {
    let a = |list: &str| format!("containers: [{{name: a, {list}}}]");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n}, spec: {containers: [{name: a, image: 'i:1'}]}}";
    let config = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}";
    let named = |id: &str| case(&format!("patches: [{{patch: '{{{id}, spec: {{hostname: h}}}}'}}]"), &[pod]);
    let with_target = |patch: &str| case(&format!("patches: [{{target: {{kind: Pod|ConfigMap}}, patch: '{patch}'}}]"), &[config]);
    let differences = [
        (
            pod_patch(&a("ports: [{containerPort: 80, protocol: TCP}]"), &a("ports: [{containerPort: 80, name: x}]")),
            r#""name":"x""#,
            r#""ports":[{"containerPort":80,"protocol":"TCP"}]"#,
        ),
        (
            pod_patch(&a("ports: [{containerPort: 80}]"), &a("ports: [{containerPort: 80, protocol: TCP}]")),
            r#""protocol":"TCP""#,
            r#""ports":[{"containerPort":80}]"#,
        ),
        (
            pod_patch(&a("ports: [{containerPort: 53, protocol: UDP}]"), &a("ports: [{containerPort: 53, name: x}]")),
            r#"[{"containerPort":53,"name":"x"},{"containerPort":53,"protocol":"UDP"}]"#,
            r#""ports":[{"containerPort":53,"protocol":"UDP"}]"#,
        ),
        (pod_patch(&a("image: i"), &a("tty: true, $patch: replace")), r#"[{"name":"a","tty":true}]"#, r#"[{"image":"i","name":"a"}]"#),
        (pod_patch(&a("args: [x]"), &a("args: [{$patch: replace}, y]")), r#""args":["y"]"#, r#""args":[{"$patch":"replace"},"y"]"#),
        (
            pod_patch(&a("resources: {claims: [{name: x}]}"), &a("resources: {claims: [{name: y}]}")),
            r#"[{"name":"y"},{"name":"x"}]"#,
            r#""claims":[{"name":"y"}]"#,
        ),
        (
            pod_patch("{nodeSelector: {a: x}}", "{nodeSelector: {$retainKeys: [b], b: y}}"),
            r#""nodeSelector":{"b":"y"}"#,
            r#""$retainKeys":["b"]"#,
        ),
        (pod_patch(&a("tty: true"), "containers: [{image: i}]"), "error", r#""containers":[]"#),
        (
            pod_patch("containers: [{name: a, tty: true}, {name: a}]", &a("image: i")),
            r#""containers":[{"image":"i","name":"a","tty":true}]"#,
            r#""containers":[{"name":"a"}]"#,
        ),
        (
            with_target("{apiVersion: v1, kind: X, metadata: {name: c}, $patch: replace, data: {z: b}}"),
            r#""data":{"z":"b"}"#,
            r#""data":{"a":"b"}"#,
        ),
        (with_target("[{op: replace, path: /data/absent, value: x}]"), "error", r#""absent":"x""#),
        (with_target("{data: {z: b}}"), r#""z":"b""#, "error"),
        (case("images: [{name: i, tagSuffix: -x}]", &[pod]), "i:1-x\"", "i:1-x-x\""),
        (case("replicas: [{name: absent, count: 1}]", &[pod]), "Pod", "error"),
        (
            case(
                "labels: [{pairs: {x: a}, includeSelectors: true}, {pairs: {x: b}}]",
                &["{apiVersion: v1, kind: Service, metadata: {name: s}}"],
            ),
            r#""selector":{"x":"a"}"#,
            r#""selector":{"x":"b"}"#,
        ),
        (case("images: [{name: 'i|x', newTag: '2'}]", &[pod]), "i:1\"", "i:2\""),
        (
            case(
                "namespace: moved",
                &[
                    "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bot}}",
                    "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b}, subjects: [{kind: User, name: bot}]}",
                ],
            ),
            r#"{"kind":"User","name":"bot"}"#,
            r#"{"kind":"User","name":"bot","namespace":"moved"}"#,
        ),
        (named("apiVersion: v1, kind: Pod, metadata: {name: p}"), r#""hostname":"h""#, "error"),
        (named("apiVersion: v1beta1, kind: Pod, metadata: {name: p, namespace: n}"), r#""hostname":"h""#, "error"),
    ];
    for (case, ours_text, theirs_text) in differences {
        let theirs = reference(std::slice::from_ref(&case)).remove(0);
        let show =
            |outcome: Result<Vec<Value>, String>| outcome.map_or_else(|_| "error".to_owned(), |objects| Value::from(objects).to_string());
        let (ours, theirs) = (show(ours(&case)), show(theirs));
        assert!(ours.contains(ours_text), "{}: ours is {ours}", case.name);
        assert!(theirs.contains(theirs_text), "{}: theirs is {theirs}", case.name);
    }
}
