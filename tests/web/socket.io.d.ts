// What the dashboard uses of its copy of the client of Socket.IO.

export interface Socket {
  readonly connected: boolean;
  /** Whether it tries again by itself. */
  readonly active: boolean;
  on(event: string, listener: (data: any) => void): this;
  /** What is sent by this waits no longer than so many ms for its answer. */
  timeout(ms: number): { emitWithAck(event: string, data: object): Promise<any> };
  connect(): this;
  disconnect(): this;
}

export function io(namespace: string, options: { transports: string[] }): Socket;
