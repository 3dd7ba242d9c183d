{{/* Nodes of replicated Kraftlets are named after their Pods, so the release's name alone it is. */}}
{{- define "kraftlet.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* Cluster-wide names must tell releases of different namespaces apart. */}}
{{- define "kraftlet.clusterName" -}}
kraftlet-trio:{{ .Release.Namespace }}:{{ .Release.Name }}
{{- end }}

{{- define "kraftlet.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kraftlet.labels" -}}
{{ include "kraftlet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "kraftlet.tokenSecret" -}}
{{ .Values.ukc.existingSecret | default (printf "%s-token" (include "kraftlet.name" .)) }}
{{- end }}

{{- define "kraftlet.metadata" -}}
name: {{ include "kraftlet.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "kraftlet.labels" . | nindent 2 }}
{{- end }}

{{- define "kraftlet.subjects" -}}
- kind: ServiceAccount
  name: {{ include "kraftlet.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* A map as the daemon reads it: k=v;k=v */}}
{{- define "kraftlet.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $pairs = append $pairs (printf "%s=%v" $key $value) -}}
{{- end -}}
{{ join ";" $pairs }}
{{- end }}
