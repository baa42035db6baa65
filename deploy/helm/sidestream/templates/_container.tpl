{{/* The container in both forms. */}}
{{- define "sidestream.container" -}}
name: sidestream
image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  - run
  {{- if .Values.watch }}
  - --watch
  {{- end }}
  - /etc/sidestream/connectors.yaml
ports:
  - {name: http, containerPort: 8083}
{{- with .Values.secrets }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
startupProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /health/ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: sidestream-config, mountPath: /etc/sidestream, readOnly: true}
  - {name: sidestream-tmp, mountPath: /tmp}
  {{- if .Values.pluginsVolume }}
  - {name: sidestream-plugins, mountPath: /usr/local/lib/sidestream/plugins, readOnly: true}
  {{- end }}
{{- end }}

{{- define "sidestream.volumes" -}}
- name: sidestream-config
  configMap: {name: {{ .Release.Name }}-sidestream}
- name: sidestream-tmp
  emptyDir: {}
{{- with .Values.pluginsVolume }}
- name: sidestream-plugins
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
