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

{{/* Called with (list . IMAGE): the image's name with its tag, or with the chart's appVersion. */}}
{{- define "millrace.image" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
{{ .repository }}:{{ default $root.Chart.AppVersion .tag }}
{{- end -}}
{{- end }}

{{- define "millrace.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Called with the number of a user: names would not do, because the kubelet cannot see that they are not root. */}}
{{- define "millrace.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
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
- apiGroups: ['']
  resources: [pods]
  verbs: [list, watch, patch]
# passwords, URLs and certificates that a pool refers to
- apiGroups: ['']
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* The Redis that `helm test` uses; empty if there is none. */}}
{{- define "millrace.testRedis" -}}
{{- if .Values.test.redisUrl -}}
{{ .Values.test.redisUrl }}
{{- else if .Values.redis.enabled -}}
redis://{{ include "millrace.fullname" . }}-redis.{{ .Release.Namespace }}:6379/0
{{- end -}}
{{- end }}

{{/* Where `helm test` puts its pool: here, or in a namespace that the controller watches. */}}
{{- define "millrace.testNamespace" -}}
{{- $watched := .Values.watch.namespaces -}}
{{ ternary .Release.Namespace (first $watched) (or (empty $watched) (has .Release.Namespace $watched)) }}
{{- end }}
