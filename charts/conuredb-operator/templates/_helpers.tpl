{{- define "conuredb-operator.name" -}}
{{- if contains "conuredb-operator" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-conuredb-operator" (.Release.Name | trunc 35 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "conuredb-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "conuredb-operator.name" .) -}}
{{- end -}}

{{- define "conuredb-operator.selector" -}}
app.kubernetes.io/name: conuredb-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "conuredb-operator.labels" -}}
{{ include "conuredb-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: conuredb
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's reference, from (list IMAGE DEFAULT_TAG). */}}
{{- define "conuredb-operator.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do with clusters and their objects; a verb is here because the operator uses it. */}}
{{- define "conuredb-operator.rules" -}}
# To take back the annotation that asks for a member's replacement.
- apiGroups: [conuredb.dev]
  resources: [conureclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [conuredb.dev]
  resources: [conureclusters/status]
  verbs: [patch]
# To patch creates what is not there yet, for which the API server asks for create too.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The administration token of each cluster.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
# To delete the pod of a member that starts over on a new volume.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# To grow volumes, and to delete those that a retention policy gives up.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch, delete]
# To replace a member, never past its disruption budget.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Its own events, and those that say why a volume stays unbound.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}
