/**
 * The gRPC service `externalscaler.ExternalScaler`, by which KEDA asks a scaler that is not part of it: its messages, their numbers
 * and types, as https://keda.sh/docs/latest/concepts/external-scalers/ has them. Its newer `StreamMetricSpec` is left out: KEDA
 * asks for the specs by `GetMetricSpec` where that is not there.
 */
import { fromJSON } from '@grpc/proto-loader';
import type { ServiceDefinition } from '@grpc/grpc-js';

export interface ScaledObjectRef {
  readonly name: string;
  readonly namespace: string;
  /** The trigger's metadata, as its author wrote them. */
  readonly scalerMetadata: Readonly<Record<string, string>>;
}

export interface MetricSpec {
  readonly metricName: string;
  /** Deprecated by KEDA in favour of the next one, and still read by versions before 2.16. */
  readonly targetSize: number;
  readonly targetSizeFloat: number;
}

export interface MetricValue {
  readonly metricName: string;
  /** Deprecated as above. */
  readonly metricValue: number;
  readonly metricValueFloat: number;
}

export interface GetMetricsRequest {
  /** `null` in a request that leaves it out. */
  readonly scaledObjectRef: ScaledObjectRef | null;
  readonly metricName: string;
}

const NAME = 'externalscaler.ExternalScaler';

const method = (requestType: string, responseType: string, responseStream = false): object => ({
  requestType,
  responseType,
  responseStream,
});

const messages = {
  ScaledObjectRef: {
    fields: {
      name: { type: 'string', id: 1 },
      namespace: { type: 'string', id: 2 },
      scalerMetadata: { keyType: 'string', type: 'string', id: 3 },
    },
  },
  IsActiveResponse: { fields: { result: { type: 'bool', id: 1 } } },
  GetMetricSpecResponse: { fields: { metricSpecs: { rule: 'repeated', type: 'MetricSpec', id: 1 } } },
  MetricSpec: {
    fields: {
      metricName: { type: 'string', id: 1 },
      targetSize: { type: 'int64', id: 2 },
      targetSizeFloat: { type: 'double', id: 3 },
    },
  },
  GetMetricsRequest: {
    fields: {
      scaledObjectRef: { type: 'ScaledObjectRef', id: 1 },
      metricName: { type: 'string', id: 2 },
    },
  },
  GetMetricsResponse: { fields: { metricValues: { rule: 'repeated', type: 'MetricValue', id: 1 } } },
  MetricValue: {
    fields: {
      metricName: { type: 'string', id: 1 },
      metricValue: { type: 'int64', id: 2 },
      metricValueFloat: { type: 'double', id: 3 },
    },
  },
};

/** What a gRPC server adds an implementation of. */
export function kedaService(): ServiceDefinition {
  const service = {
    methods: {
      IsActive: method('ScaledObjectRef', 'IsActiveResponse'),
      StreamIsActive: method('ScaledObjectRef', 'IsActiveResponse', true),
      GetMetricSpec: method('ScaledObjectRef', 'GetMetricSpecResponse'),
      GetMetrics: method('GetMetricsRequest', 'GetMetricsResponse'),
    },
  };
  const file = { nested: { externalscaler: { nested: { ExternalScaler: service, ...messages } } } };
  // absent fields are read as their defaults, which proto3 does not send
  const loaded = fromJSON(file as Parameters<typeof fromJSON>[0], {
    keepCase: true,
    defaults: true,
    longs: Number,
  });
  return loaded[NAME] as ServiceDefinition;
}
