{{/* What the schema cannot say of the values: all of it at once, each line with what is accepted. */}}
{{- define "observer.validate" -}}
{{- $config := .Values.config -}}
{{- $wrong := list -}}
{{- if has (toString $config.http.host) (list "127.0.0.1" "localhost" "::1") -}}
{{- $wrong = append $wrong (printf "config.http.host: %s cannot be reached by probes; accepted: 0.0.0.0 or \"::\"" $config.http.host) -}}
{{- end -}}
{{- if lt (int $config.http.port) 1024 -}}
{{- $wrong = append $wrong (printf "config.http.port: %v; accepted: 1024 to 65535, since the service is not root" $config.http.port) -}}
{{- end -}}
{{- if not (hasPrefix "/var/lib/observer/" $config.state.path) -}}
{{- $wrong = append $wrong (printf "config.state.path: %s is not on the volume; accepted: a folder below /var/lib/observer/" $config.state.path) -}}
{{- end -}}
{{- range $name, $target := $config.targets -}}
{{- if and (eq $target.type "command") (not (hasPrefix "/" (toString $target.folder))) -}}
{{- $wrong = append $wrong (printf "config.targets.%s.folder: not given or relative, and /etc/observer is read-only; accepted: a folder below /var/lib/observer/" $name) -}}
{{- end -}}
{{- end -}}
{{- $patience := mul .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold -}}
{{- if ge (int .Values.waitForState) (int $patience) -}}
{{- $wrong = append $wrong (printf "waitForState: %v; accepted: less than the patience of probes.startup, %d s" .Values.waitForState $patience) -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- $wrong = append $wrong "serviceMonitor.enabled, podMonitor.enabled: both would scrape everything twice; accepted: one of them" -}}
{{- end -}}
{{- $known := keys .Values.secrets -}}
{{- range .Values.extraEnv -}}{{- $known = append $known .name -}}{{- end -}}
{{- range $reference := regexFindAll "[$]+[{][A-Za-z_][A-Za-z0-9_]*[}]" (toYaml $config) -1 | uniq -}}
{{- $name := $reference | trimPrefix "${" | trimSuffix "}" -}}
{{- if and (not (hasPrefix "$" $name)) (not (has $name $known)) -}}
{{- $wrong = append $wrong (printf "config: ${%s} is not given; accepted: secrets.%s: {secret: ..., key: ...}" $name $name) -}}
{{- end -}}
{{- end -}}
{{- $plain := include "observer.plain" (dict "at" "config" "value" $config) -}}
{{- range $place := splitList "\n" $plain | compact -}}
{{- $wrong = append $wrong (printf "%s: a secret, which everybody who reads ConfigMaps would see; accepted: ${NAME}, with secrets.NAME: {secret: ..., key: ...}" $place) -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "the values are not right:\n  %s\n" (join "\n  " $wrong)) -}}
{{- end -}}
{{- end -}}

{{/* Places of the configuration that hold a secret in plain text, a line each. */}}
{{- define "observer.plain" -}}
{{- $at := .at -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- include "observer.plain" (dict "at" (printf "%s.%s" $at $key) "key" (splitList "." $key | last) "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $number, $value := .value -}}
{{- include "observer.plain" (dict "at" (printf "%s.%d" $at $number) "value" $value) -}}
{{- end -}}
{{- else if and (kindIs "string" .value) .value -}}
{{- $secret := has .key (list "cookie" "hash_key" "key_password" "password" "read_token" "secret" "token") -}}
{{- $credentials := regexMatch "://[^/@:]*:[^/@$]+@" .value -}}
{{- if or (and $secret (not (contains "${" .value))) $credentials -}}
{{- printf "%s\n" $at -}}
{{- end -}}
{{- end -}}
{{- end -}}
