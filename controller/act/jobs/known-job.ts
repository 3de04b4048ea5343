/** The cached part of a Job: its template would be most of it, with the task in it. Pure. */
import type { Job } from '../../../kube/wire.ts';
import { PLACE_ANNOTATION, RECORDED_ANNOTATION } from './job.ts';

const READ: ReadonlySet<string> = new Set([PLACE_ANNOTATION, RECORDED_ANNOTATION]);

/** The Job with only those fields that are read. */
export function slimJob({ metadata, spec, status }: Job): Job {
  const { name, namespace, uid, labels, creationTimestamp, deletionTimestamp, ownerReferences } = metadata;
  const notes = Object.entries(metadata.annotations ?? {}).filter(([key]) => READ.has(key));
  const { ttlSecondsAfterFinished, activeDeadlineSeconds } = spec ?? {};
  const { conditions, startTime, completionTime, active, ready } = status ?? {};
  return {
    metadata: {
      name,
      ...(namespace ? { namespace } : {}),
      ...(uid ? { uid } : {}),
      ...(labels ? { labels } : {}),
      ...(notes.length > 0 ? { annotations: Object.fromEntries(notes) } : {}),
      ...(ownerReferences ? { ownerReferences } : {}),
      ...(creationTimestamp ? { creationTimestamp } : {}),
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    spec: {
      template: {},
      ...(ttlSecondsAfterFinished === undefined ? {} : { ttlSecondsAfterFinished }),
      ...(activeDeadlineSeconds === undefined ? {} : { activeDeadlineSeconds }),
    },
    status: {
      ...(conditions ? { conditions } : {}),
      ...(startTime ? { startTime } : {}),
      ...(completionTime ? { completionTime } : {}),
      ...(active === undefined ? {} : { active }),
      ...(ready === undefined ? {} : { ready }),
    },
  };
}
