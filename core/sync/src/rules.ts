/** placeholder filled below */
export interface SyncRules {
  readonly name?: string;
}
export const productionRules: SyncRules = {};
