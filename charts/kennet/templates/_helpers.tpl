{{- define "kennet.name" -}}
{{- if contains "kennet" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-kennet" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "kennet.selector" -}}
app.kubernetes.io/name: kennet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kennet.labels" -}}
{{ include "kennet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "kennet.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "kennet.name" .) }}
{{- end }}

{{- /* The rules of one section of files/rbac.yaml, without their reasons. */}}
{{- define "kennet.rules" -}}
{{- range . }}
- {{ omit . "reason" | toJson }}
{{- end }}
{{- end }}
