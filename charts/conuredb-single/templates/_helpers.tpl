{{- define "conuredb.labels" -}}
app.kubernetes.io/name: conuredb
app.kubernetes.io/instance: {{ .Values.fullnameOverride }}
app.kubernetes.io/part-of: conuredb
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image's fields, as the resource has them. */}}
{{- define "conuredb.image" -}}
repository: {{ .Values.image.repository }}
tag: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
{{- with .Values.image.digest }}
digest: {{ . }}
{{- end }}
{{- with .Values.image.pullPolicy }}
pullPolicy: {{ . }}
{{- end }}
{{- end -}}

{{/* A volume's fields: an empty class is left out. */}}
{{- define "conuredb.pvc" -}}
size: {{ .size | toString | quote }}
{{- with .storageClassName }}
storageClassName: {{ . }}
{{- end }}
{{- with .retention }}
retention:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What both kinds of cluster take from the values as it is. */}}
{{- define "conuredb.common" -}}
pdb:
  enabled: {{ .Values.pdb.enabled }}
{{- with .Values.security }}
security:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $name := list "priorityClassName" "serviceAccountName" }}
{{- with index $.Values $name }}
{{ $name }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $name := list "podAnnotations" "podLabels" "extraEnv" "bootstrap" "recovery" }}
{{- with index $.Values $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.repair }}
repair:
  {{- toYaml . | nindent 2 }}
{{- end }}
paused: {{ .Values.paused }}
suspend: {{ .Values.suspend }}
{{- with .Values.serverConfig }}
serverConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image's reference, for a pod. */}}
{{- define "conuredb.imageReference" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
