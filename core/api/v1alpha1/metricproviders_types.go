package v1alpha1

import (
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// MetricProvider is where a metric comes from. Exactly one provider is set; an
// entry of Plugin counts as one.
type MetricProvider struct {
	Prometheus *PrometheusMetric `json:"prometheus,omitempty"`
	Kayenta    *KayentaMetric    `json:"kayenta,omitempty"`
	Web        *WebMetric        `json:"web,omitempty"`
	Datadog    *DatadogMetric    `json:"datadog,omitempty"`
	Wavefront  *WavefrontMetric  `json:"wavefront,omitempty"`
	NewRelic   *NewRelicMetric   `json:"newRelic,omitempty"`
	Job        *JobMetric        `json:"job,omitempty"`
	CloudWatch *CloudWatchMetric `json:"cloudWatch,omitempty"`
	Graphite   *GraphiteMetric   `json:"graphite,omitempty"`
	Influxdb   *InfluxdbMetric   `json:"influxdb,omitempty"`
	SkyWalking *SkyWalkingMetric `json:"skywalking,omitempty"`
	// Plugin maps the name of a metric plugin, "namespace/name", to its
	// configuration, which is passed on as it is.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Plugin map[string]json.RawMessage `json:"plugin,omitempty"`
}

// PrometheusMetric runs a PromQL query.
type PrometheusMetric struct {
	// Address is the server's base URL.
	Address string `json:"address,omitempty"`
	Query   string `json:"query,omitempty"`
	// Authentication is used for the server.
	Authentication Authentication `json:"authentication,omitzero"`
	// Timeout is in seconds. Nil means 30.
	Timeout *int64 `json:"timeout,omitempty"`
	// Insecure skips the check of the server's certificate.
	Insecure bool `json:"insecure,omitempty"`
	// Headers are sent with every request.
	Headers []WebMetricHeader `json:"headers,omitempty"`
	// RangeQuery makes it a range query. Nil means an instant query.
	RangeQuery *PrometheusRangeQueryArgs `json:"rangeQuery,omitempty"`
}

// PrometheusRangeQueryArgs is the range of a query.
type PrometheusRangeQueryArgs struct {
	// Start is an expression for a time.
	Start string `json:"start,omitempty"`
	// End is an expression for a time.
	End string `json:"end,omitempty"`
	// Step is the time between two points.
	Step DurationString `json:"step,omitempty"`
}

// Authentication is how a provider logs in. At most one field is set.
type Authentication struct {
	Sigv4     Sigv4Config     `json:"sigv4,omitzero"`
	OAuth2    OAuth2Config    `json:"oauth2,omitzero"`
	BasicAuth BasicAuthConfig `json:"basicAuth,omitzero"`
}

// Sigv4Config signs requests for AWS.
type Sigv4Config struct {
	Region  string `json:"region,omitempty"`
	Profile string `json:"profile,omitempty"`
	RoleARN string `json:"roleArn,omitempty"`
}

// OAuth2Config gets a token with client credentials.
type OAuth2Config struct {
	TokenURL     string   `json:"tokenUrl,omitempty"`
	ClientID     string   `json:"clientId,omitempty"`
	ClientSecret string   `json:"clientSecret,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
}

// BasicAuthConfig sends a user name and a password.
type BasicAuthConfig struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// WebMetric asks a web service.
type WebMetric struct {
	// Method is GET, POST or PUT. Empty means GET.
	Method WebMetricMethod `json:"method,omitempty"`
	URL    string          `json:"url,omitempty"`
	// Headers are sent with the request.
	Headers []WebMetricHeader `json:"headers,omitempty"`
	// Body is sent as it is. Not together with JSONBody.
	Body string `json:"body,omitempty"`
	// TimeoutSeconds is the limit of the request. 0 means 10.
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
	// JSONPath takes a value out of the answer. Empty means all of it.
	JSONPath string `json:"jsonPath,omitempty"`
	// Insecure skips the check of the server's certificate.
	Insecure bool `json:"insecure,omitempty"`
	// JSONBody is sent as JSON. Not together with Body.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	JSONBody json.RawMessage `json:"jsonBody,omitempty"`
	// Authentication is used for the service.
	Authentication Authentication `json:"authentication,omitzero"`
}

// WebMetricMethod is an HTTP method.
type WebMetricMethod string

// Methods a WebMetric can use.
const (
	WebMetricMethodGet  WebMetricMethod = "GET"
	WebMetricMethodPost WebMetricMethod = "POST"
	WebMetricMethodPut  WebMetricMethod = "PUT"
)

// WebMetricHeader is an HTTP header.
type WebMetricHeader struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// DatadogMetric runs a Datadog query.
type DatadogMetric struct {
	// Interval is how far the query looks back.
	//
	// +kubebuilder:default="5m"
	Interval DurationString `json:"interval,omitempty"`
	// Query is the only query. Not together with Queries.
	Query string `json:"query,omitempty"`
	// Queries are the queries Formula combines, by name. Only with v2.
	Queries map[string]string `json:"queries,omitempty"`
	Formula string            `json:"formula,omitempty"`
	// APIVersion is v1 or v2. The schema sets v1.
	//
	// +kubebuilder:validation:Enum=v1;v2
	// +kubebuilder:default=v1
	APIVersion string `json:"apiVersion,omitempty"`
	// Aggregator sums a series up. Only with v2; empty means last.
	//
	// +kubebuilder:validation:Enum=avg;min;max;sum;last;percentile;mean;l2norm;area
	Aggregator string `json:"aggregator,omitempty"`
	// RequestTimeout limits a request. Empty means 10s.
	RequestTimeout DurationString `json:"requestTimeout,omitempty"`
	// SecretRef names the Secret with the address and keys.
	SecretRef SecretRef `json:"secretRef,omitzero"`
}

// SecretRef names a Secret.
type SecretRef struct {
	Name string `json:"name,omitempty"`
	// Namespaced takes the Secret of the run's namespace instead of the
	// controller's.
	Namespaced bool `json:"namespaced,omitempty"`
}

// NewRelicMetric runs an NRQL query.
type NewRelicMetric struct {
	// Profile is the name of the Secret with the keys. Empty means "newrelic".
	Profile string `json:"profile,omitempty"`
	Query   string `json:"query,omitempty"`
	// Timeout is in seconds. Nil means 5.
	Timeout *int64 `json:"timeout,omitempty"`
}

// JobMetric succeeds if a Job does.
type JobMetric struct {
	// Metadata is put on the Job.
	Metadata metav1.ObjectMeta `json:"metadata,omitzero"`
	// Spec is the Job's spec. The schema does not look into it.
	//
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Spec batchv1.JobSpec `json:"spec,omitzero"`
}

// KayentaMetric asks Kayenta for a canary judgement.
type KayentaMetric struct {
	Address                  string           `json:"address,omitempty"`
	Application              string           `json:"application,omitempty"`
	CanaryConfigName         string           `json:"canaryConfigName,omitempty"`
	MetricsAccountName       string           `json:"metricsAccountName,omitempty"`
	ConfigurationAccountName string           `json:"configurationAccountName,omitempty"`
	StorageAccountName       string           `json:"storageAccountName,omitempty"`
	Threshold                KayentaThreshold `json:"threshold,omitzero"`
	Scopes                   []KayentaScope   `json:"scopes,omitempty"`
	// Lookback starts at the beginning of the run instead of one interval ago.
	Lookback bool `json:"lookback,omitempty"`
}

// KayentaThreshold judges the score.
type KayentaThreshold struct {
	// Pass is the least score that is a success.
	Pass int64 `json:"pass,omitempty"`
	// Marginal is the least score that is inconclusive.
	Marginal int64 `json:"marginal,omitempty"`
}

// KayentaScope is what is compared.
type KayentaScope struct {
	Name            string      `json:"name,omitempty"`
	ControlScope    ScopeDetail `json:"controlScope,omitzero"`
	ExperimentScope ScopeDetail `json:"experimentScope,omitzero"`
}

// ScopeDetail is one side of a comparison.
type ScopeDetail struct {
	Scope  string `json:"scope,omitempty"`
	Region string `json:"region,omitempty"`
	// Step is the resolution in seconds.
	Step  int64  `json:"step,omitempty"`
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

// WavefrontMetric runs a Wavefront query.
type WavefrontMetric struct {
	Address string `json:"address,omitempty"`
	Query   string `json:"query,omitempty"`
}

// CloudWatchMetric asks AWS CloudWatch.
type CloudWatchMetric struct {
	// Interval is how far the queries look back. Empty means 5m.
	Interval          DurationString              `json:"interval,omitempty"`
	MetricDataQueries []CloudWatchMetricDataQuery `json:"metricDataQueries,omitempty"`
}

// CloudWatchMetricDataQuery is one query: an Expression or a MetricStat.
type CloudWatchMetricDataQuery struct {
	ID         string                `json:"id,omitempty"`
	Expression *string               `json:"expression,omitempty"`
	Label      *string               `json:"label,omitempty"`
	MetricStat *CloudWatchMetricStat `json:"metricStat,omitempty"`
	Period     *intstr.IntOrString   `json:"period,omitempty"`
	// ReturnData says whether the result is returned. Nil means that it is.
	ReturnData *bool `json:"returnData,omitempty"`
}

// CloudWatchMetricStat is a statistic of a metric.
type CloudWatchMetricStat struct {
	Metric CloudWatchMetricStatMetric `json:"metric,omitzero"`
	// Period is in seconds.
	Period intstr.IntOrString `json:"period,omitzero"`
	Stat   string             `json:"stat,omitempty"`
	Unit   string             `json:"unit,omitempty"`
}

// CloudWatchMetricStatMetric names a metric.
type CloudWatchMetricStatMetric struct {
	Dimensions []CloudWatchMetricStatMetricDimension `json:"dimensions,omitempty"`
	MetricName string                                `json:"metricName,omitempty"`
	Namespace  *string                               `json:"namespace,omitempty"`
}

// CloudWatchMetricStatMetricDimension is a dimension of a metric.
type CloudWatchMetricStatMetricDimension struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// GraphiteMetric runs a Graphite query.
type GraphiteMetric struct {
	Address string `json:"address,omitempty"`
	Query   string `json:"query,omitempty"`
}

// InfluxdbMetric runs a Flux query.
type InfluxdbMetric struct {
	// Profile is the name of the Secret with the address and token. Empty means
	// "influxdb".
	Profile string `json:"profile,omitempty"`
	Query   string `json:"query,omitempty"`
}

// SkyWalkingMetric runs a SkyWalking query.
type SkyWalkingMetric struct {
	Address string `json:"address,omitempty"`
	Query   string `json:"query,omitempty"`
	// Interval is how far the query looks back.
	Interval DurationString `json:"interval,omitempty"`
}
