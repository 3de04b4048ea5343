{{- define "millrace.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of everything here; short enough that "-redis" and the like still fit into 63 characters. */}}
{{- define "millrace.fullname" -}}
{{- $name := include "millrace.name" . -}}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{ default $made .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "millrace.serviceAccount" -}}
{{ default (ternary (include "millrace.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Selectors of a Deployment cannot change: nothing goes in here that an upgrade may alter. */}}
{{- define "millrace.selector" -}}
app.kubernetes.io/name: {{ include "millrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "millrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Called with (list . IMAGE): the image by its digest, by its tag, or by the chart's appVersion. */}}
{{- define "millrace.image" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $root.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end }}

{{/*
Whether the admission policies are installed; empty if not. `helm template` without a cluster knows no kinds at all, and the
chart's kubeVersion has the policies.
*/}}
{{- define "millrace.admission" -}}
{{- $kinds := .Capabilities.APIVersions.Has "apps/v1/Deployment" -}}
{{- $has := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if and .Values.admission.enabled (or $has (not $kinds)) }}yes{{ end -}}
{{- end }}

{{/* Who may come to the dashboard. */}}
{{- define "millrace.dashboardAuth" -}}
{{- $named := ne .Values.dashboard.tokenSecret.name "" -}}
{{- $auth := default (ternary "token" "kubernetes" $named) .Values.dashboard.auth -}}
{{- if and (eq $auth "token") (not $named) -}}
{{- fail "dashboard.auth is token: set dashboard.tokenSecret.name to a Secret that has one" -}}
{{- end -}}
{{ $auth }}
{{- end }}

{{/* By which names the dashboard may be called. */}}
{{- define "millrace.dashboardHosts" -}}
{{- $name := include "millrace.fullname" . -}}
{{- $there := printf "%s.%s" $name .Release.Namespace -}}
{{- $service := list $name $there (printf "%s.svc" $there) (printf "%s.svc.cluster.local" $there) -}}
{{ concat $service .Values.dashboard.hosts | join "," }}
{{- end }}

{{/* Binds an admission policy to the namespaces that are watched, or to all. */}}
{{- define "millrace.watched" -}}
{{- with .Values.watch.namespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - { key: kubernetes.io/metadata.name, operator: In, values: [{{ join ", " . }}] }
{{- end -}}
{{- end }}

{{/* What the controller may do where its pools are: cluster-wide, or once in each watched namespace. */}}
{{- define "millrace.rules" -}}
- apiGroups: [millrace.dev]
  resources: [workerpools]
  verbs: [list, watch, patch]
- apiGroups: [millrace.dev]
  resources: [workerpools/status]
  verbs: [patch]
# lets it set owner references that block the pool's deletion
- apiGroups: [millrace.dev]
  resources: [workerpools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
# of pools that run Jobs
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: ['']
  resources: [pods]
  verbs: [list, watch, patch]
# parked replicas
- apiGroups: ['']
  resources: [pods/resize]
  verbs: [patch]
# a pool gives way to one that scales its Deployment
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
{{- if eq (toString .Values.rbac.secrets) "all" }}
{{ include "millrace.secretRule" . }}
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "millrace.secretRule" -}}
# passwords, URLs and certificates that a pool refers to
- apiGroups: ['']
  resources: [secrets]
  verbs: [get]
{{- end }}

{{/*
The password of the trial Redis: what was set, else what an earlier installation made up, else a new one. Only one is made up
in a rendering, so it is noted beside the values.
*/}}
{{- define "millrace.redisPassword" -}}
{{- if not .Values.redis.password -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (printf "%s-redis" (include "millrace.fullname" .)) | default dict -}}
{{- $before := dig "data" "password" "" $there | b64dec -}}
{{- $_ := set .Values.redis "password" (default (randAlphaNum 32) $before) -}}
{{- end -}}
{{ .Values.redis.password }}
{{- end }}

{{/* The Redis that `helm test` uses, without a password that was made up; empty if there is none. */}}
{{- define "millrace.testRedis" -}}
{{- if .Values.test.redisUrl -}}
{{ .Values.test.redisUrl }}
{{- else if .Values.redis.enabled -}}
redis://{{ include "millrace.fullname" . }}-redis.{{ .Release.Namespace }}:6379/0
{{- end -}}
{{- end }}

{{/* The same as `helm test` connects to it. With the user, because redis-cli up to 7.0 logs in as "" where a URL has a password alone. */}}
{{- define "millrace.testUrl" -}}
{{- $url := include "millrace.testRedis" . -}}
{{- if and .Values.redis.enabled .Values.redis.auth (not .Values.test.redisUrl) -}}
{{ $url | replace "redis://" (printf "redis://default:%s@" (include "millrace.redisPassword" .)) }}
{{- else -}}
{{ $url }}
{{- end -}}
{{- end }}

{{/* Where `helm test` puts its pool: here, or in a namespace that the controller watches. */}}
{{- define "millrace.testNamespace" -}}
{{- $watched := .Values.watch.namespaces -}}
{{ ternary .Release.Namespace (first $watched) (or (empty $watched) (has .Release.Namespace $watched)) }}
{{- end }}

{{/* The Secret with the certificate of external.metrics.k8s.io. */}}
{{- define "millrace.externalMetricsSecret" -}}
{{ default (printf "%s-external-metrics" (include "millrace.fullname" .)) .Values.externalMetrics.tls.secretName }}
{{- end }}

{{/*
The certificate of external.metrics.k8s.io that the chart makes, and the authority that signed it, as the data of a Secret: what an
earlier installation made, else a new one. Only one is made in a rendering, so it is noted beside the values. The authority's key
is forgotten: nothing else can be signed with it.
*/}}
{{- define "millrace.externalMetricsTls" -}}
{{- if not (hasKey .Values.externalMetrics "made") -}}
{{- $name := include "millrace.fullname" . -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "millrace.externalMetricsSecret" .) | default dict -}}
{{- $data := dig "data" dict $there -}}
{{- if not (and (hasKey $data "ca.crt") (hasKey $data "tls.crt") (hasKey $data "tls.key")) -}}
{{- $host := printf "%s.%s.svc" $name .Release.Namespace -}}
{{- $ca := genCA (printf "%s-external-metrics" $name) 3650 -}}
{{- $made := genSignedCert $host nil (list $host) 3650 $ca -}}
{{- $data = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $made.Cert) "tls.key" (b64enc $made.Key) -}}
{{- end -}}
{{- $_ := set .Values.externalMetrics "made" (pick $data "ca.crt" "tls.crt" "tls.key") -}}
{{- end -}}
{{ toYaml .Values.externalMetrics.made }}
{{- end }}

{{/* The authority by which the API server knows the certificate, in base64. */}}
{{- define "millrace.externalMetricsCa" -}}
{{- with .Values.externalMetrics.tls -}}
{{- if and .secretName (not .caBundle) -}}
{{- fail "externalMetrics.tls.secretName is set: set externalMetrics.tls.caBundle to the authority that signed its certificate" -}}
{{- end -}}
{{- if .secretName }}{{ b64enc .caBundle }}{{ else }}{{ get (include "millrace.externalMetricsTls" $ | fromYaml) "ca.crt" }}{{ end -}}
{{- end -}}
{{- end }}
