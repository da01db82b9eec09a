#!lua name=herod
-- What must happen as one, in herod's queues (see queue.c).
--
-- Each function may be executed twice (a connection lost before its answer
-- came).  What settles a job (finish, released, give_back, try_later, keep)
-- then changes nothing the second time; a second create finds its own job in
-- the way, a second take claims other jobs (the claims tell of the first), and
-- a second begin counts an epoch more.  All but create and start run with a full Redis,
-- because they only let things drain.  KEYS are keys of one queue; keys of
-- jobs that are only known here are made from a prefix in ARGV.

local OVER = { finished = true, error = true }

-- LREM walks the list: longer ones keep the id, which take then skips.
local SHORT_LIST = 10000

local function push_reply(key, text)
	if key ~= '' then
		redis.call('RPUSH', key, text)
		redis.call('EXPIRE', key, 60)
	end
end

-- Keys of jobs and queues that are only known here (queue.h has the list).
local function job_key(ns, id)
	return ns .. ':job:' .. id
end

local function own_key(ns, kind, name)
	return ns .. 'd:' .. kind .. ':' .. name
end

local function list_key(ns, queue, priority)
	if priority == 'high' or priority == 'low' then
		return own_key(ns, 'q', queue .. ':' .. priority)
	end
	return ns .. ':work_queue:' .. queue
end

-- Programs that draw from a queue by themselves, the Hero way (kind redis).
-- NSd:external:QUEUE has the nodes that run such; NSd:open:QUEUE has the ids
-- that they may have taken: NEW, or BEGUN when one was seen to have begun it,
-- SUSPECT when one of several died then that may have had it, ORPHAN when it was
-- the only one.  What one that has died wrote may come to Redis late: of those
-- that were taken and not begun is known what they will be once they are.
local NEW, BEGUN, SUSPECT, ORPHAN = 'new', 'begun', 'suspect', 'orphan'
local ONCE_BEGUN = { new = BEGUN, new_suspect = SUSPECT, new_orphan = ORPHAN }

local function is_new(known)
	return not known or ONCE_BEGUN[known] ~= nil
end

local function is_external(ns, queue)
	return redis.call('EXISTS', own_key(ns, 'external', queue)) == 1
end

-- Of a job: its queue, which stands there only when it is not its runner, or
-- when the job is not herod's (take sets it then).
local function queue_of(job)
	local v = redis.call('HMGET', job, 'queue', 'runner')

	return v[1] or v[2] or ''
end

-- The row it stands in is its priority's.  Others' programs know only one: what
-- is of high priority goes to its head.
local function push(ns, id, job, how)
	local priority = redis.call('HGET', job, 'priority')
	local queue = queue_of(job)

	if is_external(ns, queue) then
		redis.call('HSET', own_key(ns, 'open', queue), id, NEW)
		how = priority == 'high' and 'LPUSH' or how
		priority = nil
	end
	redis.call(how, list_key(ns, queue, priority), id)
end

-- Jobs with a concurrency_key.  NSd:busy:QUEUE:KEY has the ids of those that
-- are at work, or that were, or are about to be, and stand in their row;
-- NSd:held:QUEUE:KEY is the row of those that came when there were enough, and
-- NSd:held:QUEUE counts these by key.

-- Who is in busy without being there any more, as nobody told its end: some are
-- looked at.
local function forget_idle(ns, busy)
	for _, id in ipairs(redis.call('SRANDMEMBER', busy, 20)) do
		local status = redis.call('HGET', job_key(ns, id), 'status')
		if status ~= 'started' and status ~= 'stopping' and
		    status ~= 'dispatched' then
			redis.call('SREM', busy, id)
		end
	end
end

-- One less of the key is held.
local function count_out(ns, queue, name)
	if redis.call('HINCRBY', own_key(ns, 'held', queue), name, -1) <= 0 then
		redis.call('HDEL', own_key(ns, 'held', queue), name)
	end
end

local function count_held(ns, queue)
	local n = 0

	for _, count in ipairs(redis.call('HVALS',
		own_key(ns, 'held', queue))) do
		n = n + tonumber(count)
	end
	return n
end

-- The last one of its key that has a place and stands in that row, near the head.
local function last_before(ns, queue, name, row, id)
	local place, last = -1, nil

	for _, other in ipairs(redis.call('SRANDMEMBER', own_key(ns, 'busy',
		queue .. ':' .. name), 100)) do
		local at = other ~= id and redis.call('HGET',
			job_key(ns, other), 'status') == 'dispatched' and
			redis.call('LPOS', row, other, 'MAXLEN', 1000)
		if at and at > place then
			place, last = at, other
		end
	end
	return last
end

-- To the head of its row, but behind those of its key that came before it.
local function let_out(ns, queue, name, id)
	local job = job_key(ns, id)
	local row = list_key(ns, queue, redis.call('HGET', job, 'priority'))
	local last = not is_external(ns, queue) and
		last_before(ns, queue, name, row, id)

	if last then
		redis.call('LINSERT', row, 'AFTER', last, id)
	else
		push(ns, id, job, 'LPUSH')
	end
end

-- The first of those that are held, and still wait, is let out; its place is
-- kept for it.  True when there is one.
local function next_of_key(ns, queue, name)
	local held = own_key(ns, 'held', queue .. ':' .. name)
	local id = redis.call('LPOP', held)

	while id do
		count_out(ns, queue, name)
		if redis.call('HGET', job_key(ns, id), 'status') ==
		    'dispatched' then
			redis.call('SADD', own_key(ns, 'busy', queue .. ':' ..
				name), id)
			let_out(ns, queue, name, id)
			return true
		end
		id = redis.call('LPOP', held)
	end
	return false
end

local function count_in(ns, queue, name)
	redis.call('HINCRBY', own_key(ns, 'held', queue), name, 1)
end

-- It is held again: before all others, but for those that were so before it.
local function hold_again(ns, queue, id, name)
	local held = own_key(ns, 'held', queue .. ':' .. name)
	local index, last = own_key(ns, 'jobs', queue), nil
	local own = tonumber(redis.call('ZSCORE', index, id)) or 0

	for _, other in ipairs(redis.call('LRANGE', held, 0, 99)) do
		local its = redis.call('ZSCORE', index, other)
		if not its or tonumber(its) >= own then
			break
		end
		last = other
	end
	if last then
		redis.call('LINSERT', held, 'AFTER', last, id)
	else
		redis.call('LPUSH', held, id)
	end
	count_in(ns, queue, name)
end

-- begun: those that are about to be.
local function count_at_work(ns, busy, begun)
	local n = 0

	for _, id in ipairs(redis.call('SMEMBERS', busy)) do
		local status = begun[id] and 'started' or
			redis.call('HGET', job_key(ns, id), 'status')
		if status == 'started' or status == 'stopping' then
			n = n + 1
		end
	end
	return n
end

-- One that has a place is about to begin: true when it may, else, as fewer may
-- than before, it is held again.
local function go_on_in_key(ns, queue, id, name, most, begun)
	local busy = own_key(ns, 'busy', queue .. ':' .. name)
	local n = redis.call('SCARD', busy)

	if n > most and count_at_work(ns, busy, begun) >= most then
		redis.call('SREM', busy, id)
		hold_again(ns, queue, id, name)
		return false
	elseif n < most then
		-- There is room for more than before.
		next_of_key(ns, queue, name)
	end
	return true
end

-- A job is about to begin, as those in begun are: true when it may, else it is
-- held.
local function enter_key(ns, queue, id, name, most, begun)
	local busy = own_key(ns, 'busy', queue .. ':' .. name)

	if redis.call('SISMEMBER', busy, id) == 1 then
		return go_on_in_key(ns, queue, id, name, most, begun)
	end
	if redis.call('SCARD', busy) >= most then
		forget_idle(ns, busy)
	end
	-- Those that are held came before it; each lets out the next.
	if redis.call('SCARD', busy) >= most or
	    next_of_key(ns, queue, name) then
		redis.call('RPUSH', own_key(ns, 'held', queue .. ':' .. name),
			id)
		count_in(ns, queue, name)
		return false
	end
	redis.call('SADD', busy, id)
	return true
end

-- It leaves its concurrency_key, in which it was at work or held.
local function leave_key(ns, id, job)
	local name, queue = redis.call('HGET', job, 'concurrency_key'),
		queue_of(job)

	if not name then
		return
	elseif redis.call('SREM', own_key(ns, 'busy', queue .. ':' .. name), id)
	    == 1 then
		next_of_key(ns, queue, name)
	elseif redis.call('LREM', own_key(ns, 'held', queue .. ':' .. name), 1,
	    id) == 1 then
		count_out(ns, queue, name)
	elseif redis.call('EXISTS', own_key(ns, 'busy', queue .. ':' .. name))
	    == 0 then
		-- Nobody is left who would let the next one out.
		next_of_key(ns, queue, name)
	end
end

-- What it waited for is there: into its queue, or to wait for its time.
local function dispatch(ns, id, job, now)
	local due = tonumber(redis.call('HGET', job, 'due'))

	if due and due > now then
		redis.call('HSET', job, 'status', 'created', 'reason',
			'scheduled')
		redis.call('ZADD', own_key(ns, 'delay', queue_of(job)), due, id)
	else
		redis.call('HSET', job, 'status', 'dispatched')
		redis.call('HDEL', job, 'reason', 'error', 'exit')
		push(ns, id, job, 'RPUSH')
	end
end

-- Who has a unique key: for a time that the key has of its own, or else until
-- the job is over.
local function holder(ns, key)
	local id = redis.call('GET', key)

	if not id or redis.call('PTTL', key) >= 0 then
		return id
	end
	local status = redis.call('HGET', job_key(ns, id), 'status')
	return status and not OVER[status] and id
end

local function take_unique(key, id, ms)
	if ms > 0 then
		redis.call('SET', key, id, 'PX', ms)
	else
		redis.call('SET', key, id)
	end
end

-- Of a job; nil when it has none.
local function unique_key(ns, job)
	local name = redis.call('HGET', job, 'unique_key')

	return name and own_key(ns, 'uniq', queue_of(job) .. ':' .. name)
end

-- Its unique key is free again, but for one that has a time of its own.
local function drop_unique(ns, id, job)
	local key = unique_key(ns, job)

	if key and redis.call('GET', key) == id and
	    redis.call('PTTL', key) < 0 then
		redis.call('DEL', key)
	end
end

-- Of a job; those that are ids.
local function prerequisites_of(job)
	local good, all = pcall(cjson.decode,
		redis.call('HGET', job, 'prerequisites') or '[]')
	local ids = {}

	for _, id in ipairs(good and type(all) == 'table' and all or {}) do
		if type(id) == 'string' then
			ids[#ids + 1] = id
		end
	end
	return ids
end

-- It waits for no other any more: its id may be used again.
local function stop_waiting(ns, id, job)
	for _, other in ipairs(prerequisites_of(job)) do
		redis.call('SREM', own_key(ns, 'dep', other), id)
	end
end

-- An ended job is kept for its own time, or for ttl (ms).
local function expire(ns, id, job, now, ttl)
	local own = tonumber(redis.call('HGET', job, 'result_ttl'))

	ttl = own and math.ceil(own * 1000) or ttl
	redis.call('PEXPIRE', job, ttl)
	redis.call('ZADD', own_key(ns, 'done', queue_of(job)), now + ttl, id)
end

-- A job ends with that other one, for which it waits.
local function end_with(ns, other, id, job, now, ttl)
	local at = redis.call('HGET', job_key(ns, other), 'finished_at') or ''

	redis.call('HSET', job, 'status', 'error', 'error', 'prerequisite ' ..
		other .. ' did not finish', 'finished_at', at ~= '' and at or
		redis.call('HGET', job, 'created_at') or '')
	drop_unique(ns, id, job)
	stop_waiting(ns, id, job)
	expire(ns, id, job, now, ttl)
end

-- Those that wait for a job which is over; ttl is for those that have none of
-- their own.  ended gets the ids of those that
-- end with it, and of those that waited for them in turn.
local function release(ns, first, now, ttl, ended)
	local over = { first }

	while #over > 0 do
		local id = table.remove(over)
		local waiting = own_key(ns, 'dep', id)
		local good = redis.call('HGET', job_key(ns, id), 'status') ==
			'finished'
		for _, other in ipairs(redis.call('SMEMBERS', waiting)) do
			local job = job_key(ns, other)
			if redis.call('HGET', job, 'status') ~=
			    'waiting_for_prerequisites' then
				-- cancelled meanwhile, or gone
			elseif not good then
				end_with(ns, id, other, job, now, ttl)
				ended[#ended + 1] = other
				over[#over + 1] = other
			elseif redis.call('HINCRBY', job, 'prerequisites_left',
			    -1) <= 0 then
				dispatch(ns, other, job, now)
			end
		end
		redis.call('DEL', waiting)
	end
	return ended
end

-- What keeps a job from waiting for that one: {missing or failed, or foreign
-- (it does not end by herod's functions), id}.
local function hindrance(job, id)
	local v = redis.call('HMGET', job, 'status', 'herod')

	if not v[1] then
		return { 'missing', id }
	elseif v[1] == 'error' then
		return { 'failed', id }
	elseif v[1] ~= 'finished' and not v[2] then
		return { 'foreign', id }
	end
end

-- Waits for those of ids that have not finished; how many those are.
local function wait_for(ns, id, ids)
	local seen, left = {}, 0

	for _, other in ipairs(ids) do
		local job = job_key(ns, other)
		if not seen[other] and
		    redis.call('HGET', job, 'status') ~= 'finished' then
			left = left + 1
			redis.call('SADD', own_key(ns, 'dep', other), id)
			-- Who ends it sees by this that somebody waits.
			redis.call('HSETNX', job, 'finished_at', '')
		end
		seen[other] = true
	end
	return left
end

-- It waits for those of ids, or for its time, or in its queue.
local function enqueue(ns, id, job, others, now)
	local left = wait_for(ns, id, others)

	if left > 0 then
		redis.call('HSET', job, 'status', 'waiting_for_prerequisites',
			'prerequisites_left', left)
		redis.call('HDEL', job, 'reason')
	else
		dispatch(ns, id, job, now)
	end
end

-- As many jobs stand in its rows as may; most 0: any number may.
local function is_full(ns, queue, most)
	most = tonumber(most)
	if most == 0 then
		return nil
	end
	local n = redis.call('LLEN', list_key(ns, queue)) +
		redis.call('LLEN', list_key(ns, queue, 'high')) +
		redis.call('LLEN', list_key(ns, queue, 'low')) +
		count_held(ns, queue)
	return n >= most and { 'full', tostring(n) } or nil
end

local function first_hindrance(ns, others)
	for _, it in ipairs(others) do
		local found = hindrance(job_key(ns, it), it)
		if found then
			return found
		end
	end
end

-- Redis had forgotten that a job waited: then again.ttl is there, and a
-- prerequisite that has failed, or (again.last) is gone for good, is none to
-- refuse it for: the job ends with it.
local function ends_with(found, again)
	return again and (found[1] == 'failed' or
		found[1] == 'missing' and again.last)
end

local function end_late(ns, id, job, found, now, again)
	end_with(ns, found[2], id, job, now, again.ttl)
	release(ns, id, now, again.ttl, {})
end

-- KEYS job index [unique_key]
-- ARGV ns id score now_ms unique_ms held most queue n prerequisite...
-- field value...
-- A job whose id the caller chose, or that does not simply stand in line.
-- unique_ms 0: until the job is over.  held ("1"): it is not queued before
-- start().  most: so many jobs may wait in the queue; 0: any number.
-- {what, id}: ok and the status, or what is in the way: exists, unique (of
-- which job), or a hindrance by a prerequisite, or full (so many wait).
local function create(keys, args, again)
	local ns, id, now = args[1], args[2], tonumber(args[4])
	local n = tonumber(args[9])
	local others = { unpack(args, 10, 9 + n) }

	if redis.call('EXISTS', keys[1]) == 1 then
		return { 'exists', id }
	end
	local other = keys[3] and holder(ns, keys[3])
	if other then
		return { 'unique', other }
	end
	local found = first_hindrance(ns, others)
	if found and not ends_with(found, again) then
		return found
	end
	local full = args[6] ~= '1' and is_full(ns, args[8], args[7])
	if full then
		return full
	end
	redis.call('HSET', keys[1], unpack(args, 10 + n))
	redis.call('ZADD', keys[2], args[3], id)
	if keys[3] then
		take_unique(keys[3], id, tonumber(args[5]))
	end
	if args[6] == '1' then
		redis.call('HSET', keys[1], 'status', 'created')
		redis.call('HDEL', keys[1], 'reason')
	elseif found then
		end_late(ns, id, keys[1], found, now, again)
	else
		enqueue(ns, id, keys[1], others, now)
	end
	return { 'ok', redis.call('HGET', keys[1], 'status') }
end

-- Of what is told again: default_ttl_ms ("": it is refused as ever), and "1" when
-- nobody else will tell of a prerequisite that is missing.
local function again_of(ttl, last)
	return ttl and ttl ~= '' and { ttl = tonumber(ttl), last = last == '1' }
end

-- The same, where it is not known whether that was done before, or how far the
-- plain way came (the job is there, but stands in no row).
local function create_again(keys, args, again)
	local made, ns, id = create(keys, args, again), args[1], args[2]
	local queue = args[8]
	local v = redis.call('HMGET', keys[1], 'status', 'priority',
		'concurrency_key')
	local held = own_key(ns, 'held', queue .. ':' .. (v[3] or ''))

	if made[1] == 'exists' and v[1] == 'dispatched' and
	    redis.call('HEXISTS', own_key(ns, 'open', queue), id) == 0 and
	    not redis.call('LPOS', list_key(ns, queue, v[2]), id) and
	    not (v[3] and redis.call('LPOS', held, id)) then
		push(ns, id, keys[1], 'RPUSH')
		redis.call('ZADD', keys[2], args[3], id)
		return { 'ok', v[1] }
	end
	return made
end

-- ARGV default_ttl_ms last, then those of create
local function create_late(keys, args)
	return create_again(keys, { unpack(args, 3) },
		again_of(args[1], args[2]))
end

-- A tick that lies so far ahead was of a clock that was wrong.
local AHEAD = 60000

-- KEYS schedule, then those of create; ARGV tick overlap, then those of create
-- A tick of a schedule (ms; 0: a run by hand) makes its job, once: who comes
-- second learns of the first.  overlap: allow, or forbid (while the job before
-- is not over the tick makes none, and is past), or ask (then nothing is done).
-- {ok, job} or {known, job}, or {running, the job before}.
local function tick(keys, args)
	local schedule, ns, id = keys[1], args[3], args[4]
	local time, now, overlap = tonumber(args[1]), tonumber(args[6]), args[2]
	local v = redis.call('HMGET', schedule, 'tick', 'job', 'tick_job')
	local last = tonumber(v[1]) or 0

	if time > 0 and time <= last and last <= now + AHEAD then
		return { 'known', v[3] or '' }
	end
	local status = v[2] and v[2] ~= id and
		redis.call('HGET', job_key(ns, v[2]), 'status')
	if status and not OVER[status] and overlap ~= 'allow' then
		if overlap == 'forbid' and time > 0 then
			redis.call('HSET', schedule, 'tick', args[1],
				'tick_job', '')
		end
		return { 'running', v[2] }
	end
	local made = create({ unpack(keys, 2) }, { unpack(args, 3) })
	if made[1] ~= 'ok' and made[1] ~= 'exists' then
		return made
	end
	redis.call('HSET', schedule, 'job', id)
	redis.call('PERSIST', schedule)
	if time > 0 then
		redis.call('HSET', schedule, 'tick', args[1], 'tick_job', id)
	end
	return { made[1] == 'ok' and 'ok' or 'known', id }
end

-- KEYS schedule; ARGV since_ms
-- A schedule is seen: {its last tick (since, when it is new), its job}.
local function seen(keys, args)
	redis.call('HSETNX', keys[1], 'tick', args[1])
	-- Another herod may have given it up (see queues_drop_schedule()).
	redis.call('PERSIST', keys[1])
	local v = redis.call('HMGET', keys[1], 'tick', 'tick_job')
	return { v[1], v[2] or '' }
end

-- KEYS job; ARGV ns id now_ms most queue [default_ttl_ms last]
-- One that was held is queued.  {what, status or id, when it is due}: ok, or
-- none (there is no such job), or not (it is not held), or a hindrance by a
-- prerequisite, or full (so many wait).
local function start(keys, args)
	local job, ns, id = keys[1], args[1], args[2]
	local v = redis.call('HMGET', job, 'status', 'reason', 'herod', 'due')

	if not v[1] then
		return { 'none', '' }
	elseif v[1] ~= 'created' or v[2] == 'scheduled' or not v[3] then
		return { 'not', v[1], v[2] or '' }
	end
	local others, now = prerequisites_of(job), tonumber(args[3])
	local found = first_hindrance(ns, others) or
		is_full(ns, args[5], args[4])
	local again = again_of(args[6], args[7])
	if found and not ends_with(found, again) then
		return found
	elseif found then
		end_late(ns, id, job, found, now, again)
	else
		enqueue(ns, id, job, others, now)
	end
	return { 'ok', redis.call('HGET', job, 'status'), v[4] or '' }
end

-- How many jobs may still begin: most in so many ms, from the first one on.
local function rate_left(key, most)
	return most > 0 and most - (tonumber(redis.call('GET', key)) or 0) or
		math.huge
end

-- So many have begun.
local function rate_count(key, n, period)
	if n > 0 and redis.call('INCRBY', key, n) == n then
		redis.call('PEXPIRE', key, period)
	end
end

-- The next ids of three rows, at most n.  What is no row is refused, unless
-- there are some.
local function pop(rows, n, are_some)
	local ids = {}

	for row = 1, 3 do
		local left = n - #ids
		local more = left > 0 and redis.pcall('LPOP', rows[row], left)
		if more and more.err and #ids == 0 and not are_some then
			error(more.err)
		end
		for _, id in ipairs(more or {}) do
			ids[#ids + 1] = id
		end
	end
	return ids
end

-- A hash as a table, and as it came; nil when there is none.
local function hash(key)
	local list = redis.pcall('HGETALL', key)
	local fields = {}

	if list.err or #list == 0 then
		return nil
	end
	for i = 1, #list, 2 do
		fields[list[i]] = list[i + 1]
	end
	return fields, list
end

-- Those of ids that may begin, as {id, fields}; lost gets those without a job.
local function may_begin(args, ids, lost)
	local ns, found, seen, begun = args[1], {}, {}, {}

	for _, id in ipairs(ids) do
		local job, list = hash(job_key(ns, id))
		local name = job and job.concurrency_key
		local again = seen[id]
		seen[id] = true
		if not job or not job.status then
			lost[#lost + 1] = id
		elseif again or job.status ~= 'dispatched' and
		    (job.status ~= 'created' or job.herod) then
			-- cancelled, or pushed twice
		elseif not name or enter_key(ns, args[8], id, name,
		    tonumber(args[9]), begun) then
			found[#found + 1] = { id, list, job }
			begun[id] = true
		end
	end
	return found
end

local FIRST_LABEL = 12 -- among the arguments of take

-- The claims first: what is begun has one, whatever comes.
local function claim(keys, args, found, at)
	local epoch, claims = args[2], {}
	local sequence = tonumber(args[3]) - FIRST_LABEL

	if #found == 0 then
		return
	end
	for i, one in ipairs(found) do
		local label = args[at + i - 1]
		claims[#claims + 1] = one[1]
		claims[#claims + 1] = epoch .. ' ' .. sequence + at + i - 1 ..
			' ' .. label
	end
	redis.call('HSET', keys[4], unpack(claims))
end

-- It is at work again, or about to be.
local function not_over(ns, id, job)
	redis.call('HDEL', job, 'finished_at', 'node', 'instance',
		'started_at', 'reason', 'error', 'exit', 'result')
	redis.call('ZREM', own_key(ns, 'done', queue_of(job)), id)
	redis.call('PERSIST', job)
end

local function set_started(keys, args, one, label)
	local id, fields = one[1], one[3]
	local job = job_key(args[1], id)

	if (fields.finished_at or '') ~= '' then
		not_over(args[1], id, job) -- others have queued it again
	end
	redis.call('HSET', job, 'status', 'started', 'started_at', args[5],
		'node', args[4], 'instance', string.match(label, '/(%d+)'),
		'attempts', (tonumber(fields.attempts) or 0) + 1)
	if not fields.herod then
		redis.call('PERSIST', job)
		redis.call('HSET', job, 'queue', args[8])
		redis.call('ZADD', keys[5], 'NX', args[6], id)
	end
	one[3] = nil
end

-- KEYS high list low own index open meta rate
-- ARGV ns epoch sequence node now score limit queue key_concurrency rate_limit
-- rate_period label...
-- Claims the next jobs, one for each label (RUNNER/INSTANCE...).  Ids whose
-- job is not waiting (cancelled, pushed twice) are passed over; at most limit
-- ids are looked at.  What others queued learns whose queue it stood in.
-- {more, {id, fields}..., {id without job...}, 1 when the queue is paused, ms
-- until more may begin (0: now)}
local function take(keys, args)
	local at, looked, lost, all = FIRST_LABEL, 0, {}, {}
	local rate = tonumber(args[10])

	if redis.call('HEXISTS', keys[7], 'paused') == 1 then
		return { 0, all, lost, 1, 0 }
	end
	local left = rate_left(keys[8], rate)
	-- What is no hash is refused before an id is out of its row.
	local shared = redis.call('HLEN', keys[6]) > 0
	redis.call('HLEN', keys[4])
	while at <= #args and #all < left and looked < tonumber(args[7]) do
		local ids = pop(keys, math.min(#args - at + 1, left - #all,
			tonumber(args[7]) - looked), #all > 0)
		if #ids == 0 then
			break
		end
		looked = looked + #ids
		if shared then
			redis.call('HDEL', keys[6], unpack(ids))
		end
		local found = may_begin(args, ids, lost)
		claim(keys, args, found, at)
		for _, one in ipairs(found) do
			set_started(keys, args, one, args[at])
			all[#all + 1] = one
			at = at + 1
		end
	end
	if rate > 0 then
		rate_count(keys[8], #all, args[11])
	end
	local more = redis.call('EXISTS', keys[1], keys[2], keys[3]) > 0
	if more and #all >= left then
		return { 0, all, lost, 0,
			math.max(1, redis.call('PTTL', keys[8])) }
	end
	return { more and 1 or 0, all, lost, 0, 0 }
end

-- KEYS job own done
-- ARGV ns id ttl_ms now_ms default_ttl_ms node reply_key reply field value...
-- Its end.  {0}: it was over before, or another node has begun it meanwhile;
-- {1, ids of those that ended with it}.
local function finish(keys, args)
	local ns, id, now = args[1], args[2], tonumber(args[4])
	local v = redis.call('HMGET', keys[1], 'status', 'node')

	local begun = v[1] == 'started' or v[1] == 'stopping'

	if redis.call('HDEL', keys[2], id) == 0 and (OVER[v[1]] or
	    begun and v[2] and v[2] ~= args[6]) then
		return { 0 }
	end
	redis.call('HSET', keys[1], unpack(args, 9))
	redis.call('PEXPIRE', keys[1], args[3])
	redis.call('ZADD', keys[3], now + args[3], id)
	drop_unique(ns, id, keys[1])
	leave_key(ns, id, keys[1])
	push_reply(args[7], args[8])
	return { 1, release(ns, id, now, tonumber(args[5]), {}) }
end

-- KEYS job; ARGV ns id default_ttl_ms now_ms
-- Somebody waits for a job that has ended.  {1, ids of those that ended with
-- it}; {0} when it is being tried again already.
local function released(keys, args)
	local status = redis.call('HGET', keys[1], 'status')

	if status and not OVER[status] then
		return { 0 }
	end
	return { 1, release(args[1], args[2], tonumber(args[4]),
		tonumber(args[3]), {}) }
end

-- A program that draws by itself has failed at it, and it may be tried again.
local function retry_at(ns, id, job, due)
	redis.call('HSET', job, 'status', 'created', 'reason', 'scheduled',
		'due', due)
	redis.call('HDEL', job, 'node', 'instance', 'started_at', 'result')
	redis.call('HINCRBY', job, 'retries_done', 1)
	redis.call('ZADD', own_key(ns, 'delay', queue_of(job)), due, id)
	leave_key(ns, id, job)
end

-- It had failed at it before it died, or nobody saw that: true, and it is tried
-- again after its own backoff, or a second, as its runner is not known here.
local function retry_unseen(ns, id, job, now)
	local v = redis.call('HMGET', job, 'status', 'retries_done', 'retries',
		'backoff', 'reason')

	if v[1] ~= 'error' or v[5] == 'cancelled' or
	    (tonumber(v[2]) or 0) >= (tonumber(v[3]) or 0) then
		return false
	end
	retry_at(ns, id, job, now + math.ceil((tonumber(v[4]) or 1) * 1000))
	return true
end

-- KEYS job own (or open)
-- ARGV ns id died default_ttl_ms now_ms [started_at]
-- Back to the head of its row.  A job of programs that draw by themselves may
-- have been given back already, unheard of, and begun again: not the attempt of
-- started_at.  died: a worker died of it; else the attempt did
-- not happen.  {1}; {0}: it was not ours any more; {0, ids of those that ended
-- with it}: it is over.  Then its daemon died between its end and taking the
-- claim off, and its time begins now.
local function give_back(keys, args)
	local job, ns, id = keys[1], args[1], args[2]
	local v = redis.call('HMGET', job, 'status', 'started_at')
	local status = v[1]
	local open = keys[2] == own_key(ns, 'open', queue_of(job))

	if open and (not status or args[6] and (v[2] or '') ~= args[6]) or
	    redis.call('HDEL', keys[2], id) == 0 or not status then
		return { 0 }
	end
	if open and retry_unseen(ns, id, job, tonumber(args[5])) then
		return { 0 }
	end
	if OVER[status] then
		local left = redis.call('PTTL', job)
		if left < 0 then
			expire(ns, id, job, tonumber(args[5]),
				tonumber(args[4]))
		else
			redis.call('ZADD', own_key(ns, 'done', queue_of(job)),
				'NX', args[5] + left, id)
		end
		drop_unique(ns, id, job)
		leave_key(ns, id, job)
		return { 0, release(ns, id, tonumber(args[5]),
			tonumber(args[4]), {}) }
	end
	redis.call('HSET', job, 'status', 'dispatched')
	redis.call('HDEL', job, 'reason', 'error', 'exit', 'node',
		'instance', 'started_at')
	if args[3] == '1' then
		redis.call('HINCRBY', job, 'deaths', 1)
	else
		redis.call('HINCRBY', job, 'attempts', -1)
	end
	push(ns, id, job, 'LPUSH')
	return { 1 }
end

-- KEYS job own delay; ARGV ns id due_ms count field value...
-- It failed and is tried again at its time (count retries), or asked for
-- later (count deferrals: then the attempt did not happen).  0: it was not
-- ours any more.
local function try_later(keys, args)
	local id, status = args[2], redis.call('HGET', keys[1], 'status')

	if redis.call('HDEL', keys[2], id) == 0 or not status or
	    OVER[status] then
		return 0
	end
	redis.call('HSET', keys[1], 'status', 'created', 'reason',
		'scheduled', 'due', args[3], unpack(args, 5))
	redis.call('HDEL', keys[1], 'node', 'instance', 'started_at')
	redis.call('HINCRBY', keys[1], args[4], 1)
	if args[4] == 'deferrals' then
		redis.call('HINCRBY', keys[1], 'attempts', -1)
	end
	redis.call('ZADD', keys[3], args[3], id)
	leave_key(args[1], id, keys[1])
	return 1
end

-- KEYS delay; ARGV ns now_ms most
-- Those whose time has come.  {how many, when the next one's comes (ms) or ""}
local function promote(keys, args)
	local ns, now = args[1], tonumber(args[2])
	local due = redis.call('ZRANGEBYSCORE', keys[1], '-inf', now, 'LIMIT',
		0, args[3])

	for _, id in ipairs(due) do
		local v = redis.call('HMGET', job_key(ns, id), 'status',
			'reason')
		redis.call('ZREM', keys[1], id)
		if v[1] == 'created' and v[2] == 'scheduled' then
			dispatch(ns, id, job_key(ns, id), now)
		end
	end
	local next = redis.call('ZRANGE', keys[1], 0, 0, 'WITHSCORES')
	return { #due, next[2] or '' }
end

-- KEYS job own; ARGV ns id claim node queue foreign field value...
-- After Redis lost its last seconds: we do hold that job.  foreign: it was not
-- queued by herod.  0: it is over, or somebody else has begun it.
local function keep(keys, args)
	local job, ns, id, queue = keys[1], args[1], args[2], args[5]
	local v = redis.call('HMGET', job, 'status', 'node', 'priority')

	if OVER[v[1]] or v[2] and v[2] ~= args[4] then
		return 0
	end
	if v[1] and v[1] ~= 'started' and v[1] ~= 'stopping' then
		redis.call('LREM', list_key(ns, queue, v[3]), 1, id)
		redis.call('ZREM', own_key(ns, 'delay', queue), id)
	end
	redis.call('HSET', keys[2], id, args[3])
	redis.call('HSET', job, unpack(args, 8))
	redis.call('ZADD', own_key(ns, 'jobs', queue), 'NX', args[7], id)
	local name = redis.call('HGET', job, 'concurrency_key')
	if name then
		redis.call('SADD', own_key(ns, 'busy', queue .. ':' .. name), id)
	end
	redis.call('HDEL', job, 'reason', 'error', 'exit')
	if args[6] == '1' then
		redis.call('HDEL', job, 'herod')
		redis.call('HSET', job, 'queue', queue)
		redis.call('PERSIST', job)
	end
	return 1
end

-- KEYS job own (or open); ARGV id reason
-- A job in hand is to end: 0 when it is over, or others have it by now.
local function stopping(keys, args)
	if redis.call('HGET', keys[1], 'status') ~= 'started' or
	    redis.call('HEXISTS', keys[2], args[1]) == 0 then
		return 0
	end
	redis.call('HSET', keys[1], 'status', 'stopping')
	if args[2] ~= '' then
		redis.call('HSET', keys[1], 'reason', args[2])
	end
	return 1
end

-- KEYS job
-- ARGV ns id time ttl_ms now_ms reply_key queue default_ttl_ms
-- A job that waits never starts.  {the status it had, ids of those that ended
-- with it}; {""} without a job.
local function cancel(keys, args)
	local job, ns, id, now = keys[1], args[1], args[2], tonumber(args[5])
	local v = redis.call('HMGET', job, 'status', 'priority', 'herod')
	local queue = args[7]
	local open = redis.call('HDEL', own_key(ns, 'open', queue), id) == 1
	local list = list_key(ns, queue, not open and v[2])

	if v[1] ~= 'created' and v[1] ~= 'dispatched' and
	    v[1] ~= 'waiting_for_prerequisites' then
		return { v[1] or '' }
	end
	redis.call('HSET', job, 'status', 'error', 'reason', 'cancelled',
		'error', 'cancelled', 'finished_at', args[3])
	if open or redis.call('LLEN', list) <= SHORT_LIST then
		redis.call('LREM', list, 1, id)
	end
	redis.call('ZREM', own_key(ns, 'delay', queue), id)
	redis.call('PEXPIRE', job, args[4])
	redis.call('ZADD', own_key(ns, 'done', queue), now + args[4], id)
	drop_unique(ns, id, job)
	leave_key(ns, id, job)
	stop_waiting(ns, id, job)
	if not v[3] then
		push_reply(args[6], 'cancelled')
	end
	return { v[1], release(ns, id, now, tonumber(args[8]), {}) }
end

-- KEYS job; ARGV ns id now_ms default_ttl_ms
-- One that has failed is tried again, as if it were new, but that it waits for
-- no prerequisites.  {what, status or id, ids of those that ended with it}: ok,
-- or none (there is no such job), or not (it has not failed), or unique (which
-- job has its unique key).
local function again(keys, args)
	local job, ns, id, now = keys[1], args[1], args[2], tonumber(args[3])
	local v = redis.call('HMGET', job, 'status', 'unique_for')
	local key = unique_key(ns, job)
	local other = key and holder(ns, key)

	if v[1] ~= 'error' then
		return { v[1] and 'not' or 'none', v[1] or '' }
	elseif other and other ~= id then
		return { 'unique', other }
	end
	if key then
		take_unique(key, id, math.ceil((tonumber(v[2]) or 0) * 1000))
	end
	local ended = release(ns, id, now, tonumber(args[4]), {})
	not_over(ns, id, job)
	redis.call('HDEL', job, 'last_lines', 'due', 'attempts', 'deaths',
		'retries_done', 'deferrals', 'prerequisites_left')
	dispatch(ns, id, job, now)
	return { 'ok', 'dispatched', ended }
end

-- KEYS job index done; ARGV ns id now_ms default_ttl_ms
-- One that is over is forgotten at once.  {what it was, ids of those that
-- ended with it}; {""} without a job.
local function forget(keys, args)
	local ns, id, now = args[1], args[2], tonumber(args[3])
	local status = redis.call('HGET', keys[1], 'status')

	if not status or not OVER[status] then
		return { status or '' }
	end
	local ended = release(ns, id, now, tonumber(args[4]), {})
	drop_unique(ns, id, keys[1])
	stop_waiting(ns, id, keys[1])
	redis.call('DEL', keys[1])
	redis.call('ZREM', keys[2], id)
	redis.call('ZREM', keys[3], id)
	return { status, ended }
end

-- What herod knows of its own jobs from the beginning.
local function adopt(ns, id, job, queue, score, herods)
	redis.call('PERSIST', job)
	if not herods then
		redis.call('HSET', job, 'queue', queue)
		redis.call('ZADD', own_key(ns, 'jobs', queue), 'NX', score, id)
		redis.call('SADD', ns .. 'd:queues', queue)
	end
end

-- One of them has begun it.
local function note_begun(job, open, id, nodes, node, time)
	local known = ONCE_BEGUN[redis.call('HGET', open, id) or NEW]

	redis.call('HSET', open, id, known)
	redis.call('HINCRBY', job, 'attempts', 1)
	redis.call('HSETNX', job, 'started_at', time)
	if nodes == 1 then
		redis.call('HSET', job, 'node', node)
	end
	return known
end

-- A program that took its id before it was over has begun one that is: it is at
-- work again, for all others, too.  (What herod begins says so itself.)
local function is_begun_anew(status, finished_at)
	return status == 'started' and (finished_at or '') ~= ''
end

local function begun_anew(ns, id, job)
	if is_begun_anew(unpack(redis.call('HMGET', job, 'status',
	    'finished_at'))) and is_external(ns, queue_of(job)) then
		not_over(ns, id, job)
	end
end

-- KEYS job; ARGV ns id node time score
-- Somebody else has changed a job.  {what, nodes, fields}: new, begun, suspect,
-- orphan or over when programs that draw by themselves (of so many nodes) may
-- have it, else "".
local function observe(keys, args)
	local job, ns, id = keys[1], args[1], args[2]
	begun_anew(ns, id, job)
	local v = redis.call('HMGET', job, 'status', 'node', 'herod')
	local status, queue = v[1], queue_of(job)
	local open = own_key(ns, 'open', queue)
	local nodes = redis.call('HLEN', own_key(ns, 'external', queue))
	local known = redis.call('HGET', open, id)

	if not status or status == 'waiting_for_prerequisites' or
	    status == 'created' and v[3] or
	    not OVER[status] and v[2] and is_new(known) then
		-- It waits for its time, or herod has handed it out.
		redis.call('HDEL', open, id)
		return { '' }
	elseif OVER[status] then
		if known and is_new(known) then
			-- Too quick to be seen before.
			note_begun(job, open, id, nodes, args[3], args[4])
		end
		return known and { 'over', nodes,
			redis.call('HGETALL', job) } or { '' }
	elseif nodes == 0 then
		return { '' }
	elseif not known then
		adopt(ns, id, job, queue, args[5], v[3])
	end
	if status ~= 'started' and status ~= 'stopping' then
		if not known or not is_new(known) then
			redis.call('HSET', open, id, NEW)
		end
		return { NEW, nodes }
	elseif is_new(known) then
		known = note_begun(job, open, id, nodes, args[3], args[4])
	end
	return { known, nodes, redis.call('HGETALL', job) }
end

-- KEYS job open reply; ARGV ns id now_ms time default_ttl_ms reason due_ms
-- A program that draws by itself has ended a job; due_ms: it failed, and is
-- tried again then.  {0}: somebody has dealt with it; {1, ids of those that
-- ended with it}.
local function external_end(keys, args)
	local job, ns, id, now = keys[1], args[1], args[2], tonumber(args[3])

	if not OVER[redis.call('HGET', job, 'status')] or
	    redis.call('HDEL', keys[2], id) == 0 then
		return { 0 }
	end
	-- It was given back, to the head, while its program was still at it.
	local list = list_key(ns, queue_of(job))
	if type(redis.pcall('LPOS', list, id, 'MAXLEN', 100)) == 'number' then
		redis.call('LREM', list, 1, id)
	end
	if args[7] ~= '' then
		retry_at(ns, id, job, args[7])
		return { 1 }
	end
	if args[6] ~= '' then
		redis.call('HSET', job, 'reason', args[6])
	end
	if (redis.call('HGET', job, 'finished_at') or '') == '' then
		redis.call('HSET', job, 'finished_at', args[4])
	end
	-- Nobody may come for it.
	redis.call('EXPIRE', keys[3], 60, 'NX')
	expire(ns, id, job, now, tonumber(args[5]))
	drop_unique(ns, id, job)
	-- It had a place when herod's runners drew from there.
	leave_key(ns, id, job)
	return { 1, release(ns, id, now, tonumber(args[5]), {}) }
end

-- KEYS open list external; ARGV ns most mark node time
-- Of a queue that others' programs draw from: {ids that were taken out of the
-- list and not begun, ids that were begun or are over}.  mark: one that died may
-- have had them (suspect), or had them (orphan), which outlives who asks; "" when
-- nobody died, and heeded only when no other node runs such programs.
local function sweep(keys, args)
	local all, waits = redis.call('HGETALL', keys[1]), {}
	local nodes = redis.call('HLEN', keys[3])
	local mark = nodes == 1 and args[3] or ''
	local taken, begun = {}, {}

	local function look(id, known)
		local job = job_key(args[1], id)
		local status = redis.call('HGET', job, 'status')
		local is_begun = status == 'started' or status == 'stopping'

		if not status then
			redis.call('HDEL', keys[1], id)
			return
		elseif is_begun and is_new(known) then
			known = note_begun(job, keys[1], id, nodes, args[4],
				args[5])
		end
		if is_begun and mark ~= '' and known ~= ORPHAN then
			redis.call('HSET', keys[1], id, mark)
		end
		if is_begun or OVER[status] then
			begun[#begun + 1] = id
			return
		elseif mark ~= '' and known ~= 'new_' .. ORPHAN then
			redis.call('HSET', keys[1], id, 'new_' .. mark)
		end
		if #taken < tonumber(args[2]) then
			taken[#taken + 1] = id
		end
	end

	for _, id in ipairs(redis.call('LRANGE', keys[2], 0, -1)) do
		waits[id] = true
	end
	for i = 1, #all, 2 do
		if not waits[all[i]] then
			look(all[i], all[i + 1])
		end
	end
	return { taken, begun }
end

-- KEYS open list; ARGV ns id...
-- Those that are still not begun, nor in the list, go back to its head.  How
-- many.
local function unbegun(keys, args)
	local n = 0

	for i = #args, 2, -1 do
		local id = args[i]
		local status = redis.call('HGET', job_key(args[1], id),
			'status')
		local known = redis.call('HGET', keys[1], id)
		if (status == 'dispatched' or status == 'created') and
		    known and is_new(known) and
		    not redis.call('LPOS', keys[2], id) then
			redis.call('HSET', keys[1], id, NEW)
			redis.call('LPUSH', keys[2], id)
			n = n + 1
		end
	end
	return n
end

-- KEYS runners; ARGV name queue
-- An external runner; one of that name keeps its queue.  The queue it has now.
local function enroll(keys, args)
	redis.call('HSETNX', keys[1], args[1], args[2])
	return redis.call('HGET', keys[1], args[1])
end

-- ARGV ns cursor
-- A page of all jobs: {cursor, ids that a program which draws by itself may
-- have taken while no herod looked}.
local function scan(_, args)
	local ns = args[1]
	local page = redis.call('SCAN', args[2], 'MATCH', job_key(ns, '*'),
		'COUNT', 500)
	local ids = {}

	for _, key in ipairs(page[2]) do
		local v = redis.call('HMGET', key, 'status', 'node',
			'finished_at')
		if v[1] and not OVER[v[1]] and (not v[2] or
		    is_begun_anew(v[1], v[3])) and
		    is_external(ns, queue_of(key)) then
			ids[#ids + 1] = string.sub(key, #job_key(ns, '') + 1)
		end
	end
	return { page[1], ids }
end

-- Walks one index behind a place (score, id): newest first, or oldest_first.
local function walker(key, score, id, oldest_first)
	local page, at, last, skip = {}, 1, score, 0
	local command = oldest_first and 'ZRANGEBYSCORE' or 'ZREVRANGEBYSCORE'
	local far = oldest_first and '+inf' or '-inf'

	local function is_behind(found)
		return oldest_first and found > id or
			not oldest_first and found < id
	end
	-- A new page begins at the last score, behind those seen of it.
	local function next_page()
		page = redis.call(command, key, last, far, 'WITHSCORES',
			'LIMIT', skip, 100)
		at = 1
		return #page > 0
	end
	return function()
		while at <= #page or next_page() do
			local found, its = page[at], page[at + 1]
			at = at + 2
			skip = its == last and skip + 1 or 1
			last = its
			if its ~= score or id == '' or is_behind(found) then
				return found, its
			end
		end
	end
end

-- The newest of those that the walkers stand at.
local function newest(heads)
	local best = 1

	for i = 2, #heads do
		local a, b = heads[i], heads[best]
		if a.score > b.score or
		    (a.score == b.score and a.id > b.id) then
			best = i
		end
	end
	return best
end

local function walk_on(heads, i)
	local id, score = heads[i].step()

	if id then
		heads[i].id, heads[i].score = id, tonumber(score)
		heads[i].place = { score, id }
	else
		table.remove(heads, i)
	end
end

-- A reason left over from another status counts for nothing.
local function reason_of(text, refined)
	local known = text and
		string.find(refined, ' ' .. text .. ' ', 1, true)

	return known and text or ''
end

-- Of a job's tags, as JSON.
local function has_tag(text, tag)
	local good, tags = pcall(cjson.decode, text or '[]')

	for _, its in ipairs(good and type(tags) == 'table' and tags or {}) do
		if its == tag then
			return true
		end
	end
	return false
end

-- KEYS index, or the set of names of all queues
-- ARGV prefix runner status reason refined limit looks score id index_prefix
-- tag field...
-- A page of jobs, newest first, behind (score, id); "" for any runner, status
-- or tag.  The first field is the tags.  refined: all reasons that mean anything beside that status, each
-- between blanks.  index_prefix is "" when KEYS is the index.  Looks at so many
-- ids at most.  {score, id} to go on from ("" at
-- the end), then {id, values} of each.  Ids without a job are forgotten.
local function list(keys, args)
	local prefix, runner, status, reason = args[1], args[2], args[3], args[4]
	local refined, limit, looks = args[5], tonumber(args[6]), tonumber(args[7])
	local heads, page, gone, place = {}, {}, {}, nil

	if args[10] ~= '' then
		keys = redis.call('SMEMBERS', keys[1])
	end
	for i = #keys, 1, -1 do
		local key = args[10] .. keys[i]
		table.insert(heads, 1, { key = key,
			step = walker(key, args[8], args[9]) })
		walk_on(heads, 1)
	end
	while #heads > 0 and #page < limit and looks > 0 do
		local i = newest(heads)
		local head = heads[i]
		local v = redis.call('HMGET', prefix .. head.id, 'status',
			'reason', 'runner', unpack(args, 12))
		looks = looks - 1
		place = head.place
		if not v[1] then
			gone[#gone + 1] = { head.key, head.id }
		elseif (status == '' or v[1] == status and
		    reason_of(v[2], refined) == reason) and
		    (runner == '' or v[3] == runner) and
		    (args[11] == '' or has_tag(v[4], args[11])) then
			page[#page + 1] = { head.id, v }
		end
		walk_on(heads, i)
	end
	for _, it in ipairs(gone) do
		redis.call('ZREM', it[1], it[2])
	end
	return { #heads > 0 and place or { '', '' }, page }
end

local function set_of(text)
	local set = {}

	for word in string.gmatch(text, '%S+') do
		set[word] = true
	end
	return set
end

-- What is to become of a job: each gets what each() got, the id, ended for ids
-- of those that end with it, and ids for its own if it does not end by this.
-- False: it could not be.
local WHAT = {}

WHAT.retry = function(keys, args, id, ended, ids)
	local told = again({ job_key(args[1], id) }, { args[1], id, args[11],
		args[13] })

	for _, other in ipairs(told[3] or {}) do
		ended[#ended + 1] = other
	end
	if told[1] ~= 'ok' then
		return false
	end
	ids[#ids + 1] = id
	return true
end

local function purge_waiting(keys, args, id)
	local ns, job = args[1], job_key(args[1], id)
	local own = tonumber(redis.call('HGET', job, 'result_ttl'))

	-- A long list is not walked for it, but it may stand at the head.
	if redis.call('LINDEX', keys[3], 0) == id then
		redis.call('LPOP', keys[3])
	end
	return cancel({ job }, { ns, id, args[12],
		tostring(own and math.ceil(own * 1000) or args[13]), args[11],
		ns .. ':reply:' .. id, args[14], args[13] })
end

WHAT.purge = function(keys, args, id, ended, ids)
	local told, own

	if OVER[redis.call('HGET', job_key(args[1], id), 'status')] then
		told, own = forget({ job_key(args[1], id), keys[1], keys[2] },
			{ args[1], id, args[11], args[13] }), ids
	else
		told, own = purge_waiting(keys, args, id), ended
	end
	if not told[2] then
		return false
	end
	own[#own + 1] = id
	for _, other in ipairs(told[2]) do
		ended[#ended + 1] = other
	end
	return true
end

-- The jobs of a queue that are meant, oldest first, behind a place, and the
-- place where that ended; ids without a job are forgotten.
local function meant(keys, args)
	local wanted, refined = set_of(args[4]), set_of(args[5])
	local step = walker(keys[1], args[9], args[10], true)
	local looks, found, gone = tonumber(args[8]), {}, {}
	local place = { '', '' }

	while looks > 0 and #found < tonumber(args[7]) do
		local id, score = step()
		if not id or tonumber(score) > tonumber(args[15]) then
			place = { '', '' }
			break
		end
		looks, place = looks - 1, { score, id }
		local v = redis.call('HMGET', job_key(args[1], id), 'status',
			'reason', 'runner', 'tags', 'finished_at', 'created_at')
		local status = (v[1] or '') .. '/' .. (v[2] or '')
		status = refined[status] and status or (v[1] or '') .. '/'
		local at = OVER[v[1]] and v[5] ~= '' and v[5] or v[6] or ''
		if not v[1] then
			gone[#gone + 1] = id
		elseif (args[4] == '' or wanted[status]) and
		    (args[3] == '' or v[3] == args[3]) and
		    (args[6] == '' or has_tag(v[4], args[6])) and
		    (args[16] == '' or at < args[16]) then
			found[#found + 1] = { id, status, v[6] or '' }
		end
	end
	for _, id in ipairs(gone) do
		redis.call('ZREM', keys[1], id)
	end
	return found, place
end

-- KEYS index done list
-- ARGV ns what runner statuses refined tag limit looks score id now_ms time
-- default_ttl_ms queue until before
-- Does what (retry, purge or count) to the jobs of a queue behind (score, id),
-- in the order of their creation up to the score until; runner, statuses
-- ("STATUS/REASON..."), tag and before (a time when they were over, or else
-- created) say to which, and are "" for any.  refined: all reasons that mean
-- anything.  {place to go on from ("" at the end), how many, how many could not
-- be, ids of those that ended, {{status, how many, first creation}...}, ids of
-- those that wait again or are forgotten}
-- One that ended with another meanwhile is let alone.
local function each(keys, args)
	local found, place = meant(keys, args)
	local done, refused, ended, counts, index = 0, 0, {}, {}, {}
	local ids = {}

	for _, it in ipairs(found) do
		if args[2] == 'count' then
			local count = index[it[2]]
			if not count then
				count = { it[2], 0, it[3] }
				index[it[2]] = count
				counts[#counts + 1] = count
			end
			count[2] = count[2] + 1
		elseif redis.call('HGET', job_key(args[1], it[1]), 'status') ==
		    string.match(it[2], '^[^/]*') and
		    WHAT[args[2]](keys, args, it[1], ended, ids) then
			done = done + 1
		else
			refused = refused + 1
		end
	end
	return { place, done, refused, ended, counts, ids }
end

-- Other herods that live and say that a runner of theirs takes jobs from there,
-- or will; NSd:draws:QUEUE is the hash of their ids.
local function drawn_elsewhere(ns, draws, me)
	local n = 0

	for _, id in ipairs(redis.call('HKEYS', draws)) do
		if id ~= me and redis.call('EXISTS',
		    own_key(ns, 'hb', id)) == 1 then
			n = n + 1
		end
	end
	return n
end

-- KEYS high list low delay meta draws; ARGV ns queue id
-- {jobs that wait, when the first of them was created, how many wait for
-- their time, 1 when the queue is paused, how many other herods draw from it};
-- of a long row of cancelled jobs at the head only some are passed over.
local function depth(keys, args)
	local n, first = count_held(args[1], args[2]), ''

	for row = 1, 3 do
		local waiting = redis.call('LLEN', keys[row])
		n = n + waiting
		for _, id in ipairs(waiting > 0 and
		    redis.call('LRANGE', keys[row], 0, 99) or {}) do
			local job = redis.call('HMGET', job_key(args[1], id),
				'status', 'created_at')
			if job[1] and not OVER[job[1]] then
				local at = job[2] or ''
				first = (first == '' or at < first) and at or
					first
				break
			end
		end
	end
	return { n, first, redis.call('ZCARD', keys[4]),
		redis.call('HEXISTS', keys[5], 'paused'),
		drawn_elsewhere(args[1], keys[6], args[3]) }
end

-- KEYS list; ARGV id
-- {that id, if it is still near the head, or else the one at the head; how many
-- there are}; {} when there is none.
local function head(keys, args)
	local n, id = redis.call('LLEN', keys[1]), args[1]

	if id == '' or not redis.call('LPOS', keys[1], id, 'MAXLEN', 1000) then
		id = redis.call('LINDEX', keys[1], 0)
	end
	return id and { id, n } or {}
end

-- KEYS meta names; ARGV ns queue known time
-- No job of the queue begins from then on; "" for time: they begin again.  ok,
-- or none (nobody knows such a queue), or external (programs draw from it that
-- do not ask).
local function pause(keys, args)
	local ns, queue = args[1], args[2]

	if args[3] ~= '1' and
	    redis.call('SISMEMBER', keys[2], queue) == 0 then
		return 'none'
	elseif args[4] == '' then
		redis.call('HDEL', keys[1], 'paused')
	elseif is_external(ns, queue) then
		return 'external'
	else
		redis.call('HSETNX', keys[1], 'paused', args[4])
	end
	return 'ok'
end

-- Of more ended jobs than are kept, some, the first to expire.  How many.
local function forget_surplus(keys, now, ns, ttl, keep, most)
	local surplus = redis.call('ZCARD', keys[2]) - keep
	local ids = surplus > 0 and redis.call('ZRANGE', keys[2], 0,
		math.min(surplus, most) - 1) or {}

	for _, id in ipairs(ids) do
		forget({ job_key(ns, id), keys[1], keys[2] },
			{ ns, id, now, ttl })
		-- It may be there no more, or wait again by others' doing.
		redis.call('ZREM', keys[2], id)
		if redis.call('EXISTS', job_key(ns, id)) == 0 then
			redis.call('ZREM', keys[1], id)
		end
	end
	return #ids
end

-- KEYS index done; ARGV now_ms count [ns default_ttl_ms keep most]
-- Forgets ids whose jobs have expired, and of more than keep jobs at most so
-- many.  How many.
local function trim(keys, args)
	local ids = redis.call('ZRANGEBYSCORE', keys[2], '-inf', args[1],
		'LIMIT', 0, args[2])

	if #ids > 0 then
		redis.call('ZREM', keys[1], unpack(ids))
		redis.call('ZREM', keys[2], unpack(ids))
	end
	return #ids + (args[3] and forget_surplus(keys, args[1], args[3],
		args[4], tonumber(args[5]), tonumber(args[6])) or 0)
end

-- ---- herods that share a Redis ----

-- Another one that lives has that name.
local function is_taken(ns, me, name)
	local all = redis.call('HGETALL', ns .. 'd:nodes')

	for i = 1, #all, 2 do
		if all[i] ~= me and all[i + 1] == name and
		    redis.call('EXISTS', own_key(ns, 'hb', all[i])) == 1 then
			return true
		end
	end
end

-- KEYS node names; ARGV ns id name step heartbeat_ms client pid version
-- A daemon begins (step 1) or meets Redis again (0); heartbeat_ms is "" when it
-- shares that with nobody.  {epoch, names of all queues there ever were, its
-- name, 1 when others took it for dead and what is in hand there may be in theirs
-- since}: so until it is sure, should this answer be lost
local function begin(keys, args)
	local node, ns, id, name = keys[1], args[1], args[2], args[3]

	if args[5] ~= '' then
		if is_taken(ns, id, name) then
			name = name .. '-' .. string.sub(id, 1, 4)
		end
		redis.call('HSET', ns .. 'd:nodes', id, name)
		redis.call('SET', own_key(ns, 'hb', id), '1', 'PX', args[5])
	end
	for _, queue in ipairs(args[4] == '1' and
	    redis.call('SMEMBERS', keys[2]) or {}) do
		redis.call('HDEL', own_key(ns, 'draws', queue), id)
	end
	if redis.call('HEXISTS', node, 'fenced') == 1 then
		redis.call('HSET', node, 'doubt', '1')
	end
	redis.call('HDEL', node, 'fenced', 'gone')
	redis.call('DEL', own_key(ns, 'takeover', id))
	redis.call('HSET', node, 'name', name, 'client', args[6], 'pid',
		args[7], 'version', args[8])
	return { redis.call('HINCRBY', node, 'epoch', args[4]),
		redis.call('SMEMBERS', keys[2]), name,
		redis.call('HEXISTS', node, 'doubt') }
end

-- KEYS heartbeat node; ARGV ns id ms
-- It lives.  {1 when others took it for dead, ids of those that do not live and
-- were not taken over}
local function beat(keys, args)
	local ns, dead = args[1], {}

	redis.call('SET', keys[1], '1', 'PX', args[3])
	for _, id in ipairs(redis.call('HKEYS', ns .. 'd:nodes')) do
		if redis.call('EXISTS', own_key(ns, 'hb', id)) == 0 and
		    redis.call('HEXISTS', own_key(ns, 'node', id), 'gone') ==
		    0 then
			dead[#dead + 1] = id
		end
	end
	return { redis.call('HEXISTS', keys[2], 'fenced'), dead }
end

-- KEYS heartbeat node lock; ARGV id lock_ms
-- {the number of its connection, its name}; "" when it lives or somebody else
-- takes over from it.
local function fence(keys, args)
	if redis.call('EXISTS', keys[1]) == 1 or
	    redis.call('HEXISTS', keys[2], 'gone') == 1 or
	    not redis.call('SET', keys[3], args[1], 'NX', 'PX', args[2]) and
	    redis.call('GET', keys[3]) ~= args[1] then
		return { '' }
	end
	redis.call('HSET', keys[2], 'fenced', '1')
	local v = redis.call('HMGET', keys[2], 'client', 'name')
	return { v[1] or '0', v[2] or '' }
end

-- Its claims of a queue, the last first, so that the first stands at the head.
local function claims_of(own)
	local all, claims = redis.call('HGETALL', own), {}

	for i = 1, #all, 2 do
		local epoch, sequence = string.match(all[i + 1], '(%d+) (%d+)')
		claims[#claims + 1] = { id = all[i], epoch = tonumber(epoch) or 0,
			sequence = tonumber(sequence) or 0 }
	end
	table.sort(claims, function(a, b)
		if a.epoch ~= b.epoch then
			return a.epoch > b.epoch
		end
		return a.sequence > b.sequence
	end)
	return claims
end

-- Nobody is left who would look after what others' programs have.
local function begun_by_nobody(ns, queue)
	local all, claims = {}, {}

	if not is_external(ns, queue) then
		all = redis.call('HGETALL', own_key(ns, 'open', queue))
	end
	for i = 1, #all, 2 do
		if not is_new(all[i + 1]) then
			claims[#claims + 1] = { id = all[i] }
		end
	end
	return claims
end

-- KEYS node names; ARGV ns id time now_ms default_ttl_ms most
-- What a herod had that is not there any more goes back, uncounted.  {how many,
-- 1 when there is more, names of queues}; {} when it is there again: it has read
-- by then what is its own.
local function recover(keys, args)
	local ns, id, left = args[1], args[2], tonumber(args[6])
	local total, queues = 0, {}

	if redis.call('HEXISTS', keys[1], 'fenced') == 0 then
		return {}
	end
	local function give_all_back(queue, own, claims)
		for i = 1, math.min(#claims, left) do
			give_back({ job_key(ns, claims[i].id), own }, { ns,
				claims[i].id, '0', args[5], args[4] })
		end
		if #claims > 0 then
			queues[#queues + 1] = queue
		end
		total = total + math.min(#claims, left)
		left = left - #claims
	end

	for _, queue in ipairs(redis.call('SMEMBERS', keys[2])) do
		local own = own_key(ns, 'own', queue .. ':' .. id)
		local open = own_key(ns, 'open', queue)
		if left > 0 then
			give_all_back(queue, own, claims_of(own))
		end
		redis.call('HDEL', own_key(ns, 'draws', queue), id)
		local external = own_key(ns, 'external', queue)
		if left > 0 and redis.call('HDEL', external, id) == 1 then
			give_all_back(queue, open, begun_by_nobody(ns, queue))
			if left < 0 then
				redis.call('HSET', external, id, '')
			end
		end
	end
	if left > 0 then
		redis.call('HSET', keys[1], 'gone', args[3])
	end
	return { total, left > 0 and 0 or 1, queues }
end

-- ARGV ns field...
-- All there are, also those that have vanished: {id, 1 when it lives, values}
local function nodes(_, args)
	local ns, all = args[1], {}

	for _, id in ipairs(redis.call('HKEYS', ns .. 'd:nodes')) do
		all[#all + 1] = { id, redis.call('EXISTS',
			own_key(ns, 'hb', id)), redis.call('HMGET',
			own_key(ns, 'node', id), unpack(args, 2)) }
	end
	return all
end

-- KEYS heartbeat node; ARGV ns id
-- It has ended in order.
local function leave(keys, args)
	redis.call('DEL', keys[1])
	redis.call('HDEL', args[1] .. 'd:nodes', args[2])
	return 1
end

local function register(name, callback)
	redis.register_function({ function_name = 'herod_' .. name,
		callback = callback, flags = { 'allow-oom' } })
end

redis.register_function('herod_create', create)
redis.register_function('herod_create_again', function(keys, args)
	return create_again(keys, args)
end)
redis.register_function('herod_create_late', create_late)
redis.register_function('herod_tick', tick)
redis.register_function('herod_enroll', enroll)
register('seen', seen)
redis.register_function('herod_start', start)
register('take', take)
register('finish', finish)
register('released', released)
register('try_later', try_later)
register('promote', promote)
register('again', again)
register('forget', forget)
register('give_back', give_back)
register('keep', keep)
register('cancel', cancel)
register('stopping', stopping)
register('list', list)
register('trim', trim)
register('depth', depth)
register('head', head)
register('pause', pause)
register('each', each)
register('begin', begin)
register('beat', beat)
register('fence', fence)
register('recover', recover)
register('nodes', nodes)
register('leave', leave)
register('observe', observe)
register('external_end', external_end)
register('sweep', sweep)
register('unbegun', unbegun)
register('scan', scan)
