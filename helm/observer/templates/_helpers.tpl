{{- define "observer.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: the StatefulSet's controller puts a hash behind it into a label. */}}
{{- define "observer.fullname" -}}
{{- $name := include "observer.name" . -}}
{{- $long := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $long | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "observer.selector" -}}
app.kubernetes.io/name: {{ include "observer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "observer.labels" -}}
{{ include "observer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "observer.metadata" -}}
name: {{ include "observer.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "observer.labels" . | nindent 2 }}
{{- end -}}

{{- define "observer.image" -}}
{{- $told := "image.repository: none given, and none is published; build one from the repository's Dockerfile" -}}
{{- $repository := required $told .Values.image.repository -}}
{{- with .Values.image.digest -}}
{{- printf "%s@%s" $repository . -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "observer.serviceAccount" -}}
{{- $own := ternary (include "observer.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{/*
What the targets of the configuration need in this cluster, as YAML: namespace -> "group/resource" -> names, where
" (read)" follows on what is never changed: KServe's own route. A target with a kubeconfig of its own lies in another
cluster, or speaks as somebody else.
*/}}
{{- define "observer.rights" -}}
{{- $kinds := dict
  "kserve" "serving.kserve.io/inferenceservices"
  "inference_graph" "serving.kserve.io/inferencegraphs"
  "seldon" "machinelearning.seldon.io/seldondeployments"
  "seldon_experiment" "mlops.seldon.io/experiments"
  "http_route" "gateway.networking.k8s.io/httproutes" -}}
{{- $rights := dict -}}
{{- range $target := .Values.config.targets -}}
{{- $kind := get $kinds $target.type -}}
{{- if and $kind (not $target.kubeconfig) -}}
{{- $inside := get $rights $target.namespace | default dict -}}
{{- $wanted := list (list $kind $target.name) -}}
{{- with $target.route -}}
{{- $wanted = append $wanted (list (printf "%s (read)" $kinds.http_route) .name) -}}
{{- end -}}
{{- range $wanted -}}
{{- $names := append (get $inside (first .) | default list) (last .) | uniq | sortAlpha -}}
{{- $_ := set $inside (first .) $names -}}
{{- end -}}
{{- $_ := set $rights $target.namespace $inside -}}
{{- end -}}
{{- end -}}
{{- toYaml $rights -}}
{{- end -}}

{{/* The endpoint that Prometheus scrapes; its job is the release's name, which the rules ask for. */}}
{{- define "observer.endpoint" -}}
- port: http
  path: /metrics
  interval: {{ .monitor.interval }}
  scrapeTimeout: {{ .monitor.scrapeTimeout }}
  relabelings:
    - {targetLabel: job, replacement: {{ include "observer.fullname" .root }}}
{{- end -}}
