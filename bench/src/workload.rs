//! The repository that is measured: apps of five objects, and one namespace for each twenty of them.

use std::fmt::Write as _;

/// Objects of one app.
pub(crate) const PER_APP: usize = 5;

/// A fleet with that spec (YAML) of these clusters, each running that many apps from the shared base.
pub(crate) fn files(apps: usize, clusters: &[String], spec: &str) -> Vec<(String, String)> {
    let mut files = vec![("evenkeel.yaml".to_owned(), format!("{}spec: {spec}\n", own("Fleet", "bench")))];
    for cluster in clusters {
        files.push((format!("environments/production/eu/{cluster}/cluster.yaml"), own("Cluster", cluster)));
    }
    let mut namespaces = String::new();
    for team in 0..apps.div_ceil(20) {
        let _ = write!(namespaces, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team-{team}}}\n");
    }
    files.push(("base/teams/namespaces.yaml".to_owned(), namespaces));
    for app in 0..apps {
        files.push((path(app), manifests(app)));
    }
    files
}

/// The file of one app.
pub(crate) fn path(app: usize) -> String {
    format!("base/team-{}/app-{app}.yaml", app / 20)
}

fn own(kind: &str, name: &str) -> String {
    format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n")
}

/// Deployment, Service, ConfigMap, NetworkPolicy and ServiceAccount of one app.
fn manifests(app: usize) -> String {
    let namespace = format!("team-{}", app / 20);
    let mut environment = String::new();
    for n in 0..12 {
        let _ = writeln!(environment, "            - {{name: SETTING_{n}, value: \"value {n} of app {app}\"}}");
    }
    format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: app-{app}, namespace: {namespace}}}
---
{}---
apiVersion: v1
kind: Service
metadata: {{name: app-{app}, namespace: {namespace}, labels: {{app: app-{app}}}}}
spec:
  selector: {{app: app-{app}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: app-{app}, namespace: {namespace}}}
spec:
  podSelector: {{matchLabels: {{app: app-{app}}}}}
  policyTypes: [Ingress, Egress]
  ingress: [{{from: [{{podSelector: {{}}}}], ports: [{{port: 8080}}]}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app-{app}, namespace: {namespace}, labels: {{app: app-{app}, tier: web}}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: app-{app}}}}}
  template:
    metadata: {{labels: {{app: app-{app}, tier: web}}}}
    spec:
      serviceAccountName: app-{app}
      securityContext: {{runAsNonRoot: true}}
      containers:
        - name: web
          image: registry.example.org/shop/app-{app}:1.4.2
          ports: [{{name: http, containerPort: 8080}}]
          env:
{environment}          envFrom: [{{configMapRef: {{name: app-{app}}}}}]
          resources: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{memory: 256Mi}}}}
          readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 5}}
          livenessProbe: {{httpGet: {{path: /live, port: http}}, periodSeconds: 10}}
",
        config_map(app, "1")
    )
}

/// The ConfigMap of one app, with one value that a commit changes.
fn config_map(app: usize, version: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: app-{app}, namespace: team-{}}}
data:
  version: \"{version}\"
  settings.properties: |
    name=app-{app}
    pool.size=20
    timeout.ms=1500
",
        app / 20
    )
}

/// The file of one app with a changed ConfigMap.
pub(crate) fn changed(app: usize, version: &str) -> (String, String) {
    (path(app), manifests(app).replace("version: \"1\"", &format!("version: \"{version}\"")))
}
