{{- define "sluice.namespaced" -}}
{{- if eq .Values.scope "namespaced" }}true{{ end -}}
{{- end }}

{{- define "sluice.cluster" -}}
{{- if ne .Values.scope "namespaced" }}true{{ end -}}
{{- end }}

{{/* Selectors cannot change, so they name neither release nor chart. */}}
{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/component: controller
{{- end }}

{{- define "sluice.account" -}}
- kind: ServiceAccount
  name: sluice-controller
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "sluice.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The namespaces in which Secrets may be read. */}}
{{- define "sluice.secretNamespaces" -}}
{{- $namespaces := .Values.secrets.namespaces }}
{{- if or .Values.strict (include "sluice.namespaced" .) }}
{{- $namespaces = prepend $namespaces .Release.Namespace }}
{{- end }}
{{- $namespaces | uniq | toJson }}
{{- end }}

{{/* What goes out under strict: everything but metadata services. */}}
{{- define "sluice.egress" -}}
{{- if .Values.networkPolicy.egress }}
{{- toYaml .Values.networkPolicy.egress }}
{{- else if .Values.strict -}}
- to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}}]
- to: [{ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::/32"]}}]
{{- end }}
{{- end }}
